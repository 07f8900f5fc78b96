// Makes and updates elements. Text is always set as text: nothing in this folder turns a string into markup.

/** @typedef {Node | string | number | null | undefined | false} Child */
/** @typedef {Record<string, any>} Attributes */

/**
 * An element of the class or classes behind the dots of *tag*, as in `p.help`. Attributes come before its children, if
 * there are any: `onclick` is a listener; `true` stands for one without a value, and `false`, `null` and `undefined` for
 * none.
 * @param {string} tag
 * @param {...(Attributes | Child)} parts
 * @returns {any}
 */
export function h(tag, ...parts) {
	const [name, ...classes] = tag.split(".");
	const element = document.createElement(name);
	element.classList.add(...classes);
	return filled(element, parts);
}

/**
 * An element of SVG.
 * @param {string} tag
 * @param {...(Attributes | Child)} parts
 * @returns {any}
 */
export function svg(tag, ...parts) {
	return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), parts);
}

/**
 * A button that does *act*.
 * @param {string} text
 * @param {(event: any) => unknown} onclick
 * @param {Attributes} [more]
 */
export function button(text, onclick, more = {}) {
	return h("button", { type: "button", onclick, ...more }, text);
}

/** Things side by side. @param {...Child} children */
export function bar(...children) {
	return h("div.bar", ...children);
}

/**
 * What a select offers.
 * @param {any[]} list texts, or what has a name
 * @param {any} [chosen]
 */
export function choices(list, chosen) {
	return list.map((one) => one.name ?? one).map((value) => h("option", { value, selected: value === chosen }, value));
}

/**
 * A table with a caption, which the application hides from the eye alone, and the titles of its columns.
 * @param {string} caption
 * @param {string[]} titles
 * @param {Node} body
 */
export function table(caption, titles, body) {
	const head = h("tr", ...titles.map((title) => h("th", { scope: "col" }, title)));
	return h("table", h("caption", caption), h("thead", head), body);
}

/**
 * What may be larger than its place, and is scrolled there, also by keys.
 * @param {string} tag
 * @param {string} label
 * @param {Node} child
 */
export function scrolled(tag, label, child) {
	return h(tag, { tabindex: 0, role: "group", "aria-label": label }, child);
}

/**
 * The one of *list* that is called *name*.
 * @param {any[] | undefined} list
 * @param {string} name
 */
export function named(list, name) {
	return list?.find((one) => one.name === name);
}

/**
 * @param {Element} element
 * @param {any[]} parts
 */
function filled(element, parts) {
	const given = parts[0] instanceof Object && !(parts[0] instanceof Node);
	const [attributes, ...children] = given ? parts : [{}, ...parts];
	for (const [name, value] of Object.entries(attributes)) {
		if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
		else setAttribute(element, name, value);
	}
	element.append(...present(children));
	return element;
}

/**
 * @param {Child[]} children
 * @returns {(Node | string)[]}
 */
function present(children) {
	return children
		.filter((one) => one !== null && one !== undefined && one !== false)
		.map((one) => (one instanceof Node ? one : String(one)));
}

/**
 * Give *element* an attribute, only if that changes anything.
 * @param {Element} element
 * @param {string} name
 * @param {any} value
 */
export function setAttribute(element, name, value) {
	if (value === false || value === null || value === undefined) {
		if (element.hasAttribute(name)) element.removeAttribute(name);
	} else {
		const text = value === true ? "" : String(value);
		if (element.getAttribute(name) !== text) element.setAttribute(name, text);
	}
}

/**
 * Give *element* a text, only if it has another: an element that is selected or spoken stays as it is.
 * @param {Element} element
 * @param {string | number} text
 */
export function setText(element, text) {
	if (element.textContent !== String(text)) element.textContent = String(text);
}

/**
 * Have in *parent* one element for each of *items*, in their order. An element stays, with its focus, as long as there
 * is an item with its key.
 * @template T
 * @param {Element} parent
 * @param {Iterable<T>} items
 * @param {(item: T) => any} make
 * @param {(element: any, item: T) => void} [update]
 * @param {(item: T) => unknown} [keyOf]
 */
export function sync(parent, items, make, update = () => {}, keyOf = usualKey) {
	const list = [...items];
	const keys = new Set(list.map(keyOf));
	const known = new Map();
	for (const element of /** @type {any[]} */ ([...parent.children])) {
		if (keys.has(element.syncKey)) known.set(element.syncKey, element);
		else element.remove();
	}
	let place = parent.firstElementChild;
	for (const item of list) {
		const key = keyOf(item);
		const element = known.get(key) ?? make(item);
		element.syncKey = key;
		update(element, item);
		if (element === place) place = place?.nextElementSibling ?? null;
		else parent.insertBefore(element, place);
	}
}

/** A text itself; of other things their name, their number, or the first of them. @param {any} item */
function usualKey(item) {
	return typeof item === "string" ? item : (item.name ?? item.number ?? item[0]);
}

// Edits of the configuration by buttons and switches, which say what became of them.

import { addressOf, call, faultPath, proxyPath } from "./api.js";
import { button, h, setText } from "./dom.js";
import { shown } from "./format.js";
import { attempt, readOnly, say } from "./messages.js";
import { store } from "./store.js";

/**
 * Call the program, read the proxies again, and say *text* if that could be done. The answer; `undefined` if there is none.
 * @param {string} method
 * @param {string} path
 * @param {any} [body]
 * @param {string} [text]
 */
export async function edit(method, path, body, text) {
	const done = await attempt(() => call(method, path, body));
	await store.refresh();
	if (done !== undefined && text) say(text);
	return done;
}

/**
 * Change the fault *name* of *proxy* as *body* says.
 * @param {string} proxy
 * @param {string} name
 * @param {any} body
 */
export async function changeFault(proxy, name, body) {
	const done = await edit("PATCH", faultPath(proxy, name), body);
	if (done?.warning) say(`Fault ${shown(name)} changes nothing: ${done.warning}.`);
}

/**
 * A switch, with whether it is on in words; its state is set by `turn`.
 * @param {string} label
 * @param {(on: boolean) => unknown} act
 */
export function switchOf(label, act) {
	const onchange = async () => {
		made.busy = true;
		await act(input.checked);
		made.busy = false;
		store.tell("proxies");
	};
	const input = h("input", { type: "checkbox", role: "switch", "aria-label": label, disabled: readOnly(), onchange });
	const made = Object.assign(h("label.switch", input, h("span")), { input, busy: false });
	return made;
}

/**
 * Show in a switch whether it is on, unless it is being used.
 * @param {any} of
 * @param {boolean} on
 */
export function turn(of, on) {
	if (of.busy) return;
	of.input.checked = on;
	setText(of.lastElementChild, on ? "on" : "off");
}

/**
 * A small button, which a reader of the screen has by its *label*; none where the page may only read.
 * @param {string} text
 * @param {string} label
 * @param {() => unknown} act
 */
export function icon(text, label, act) {
	return !readOnly() && button(text, act, { class: "icon", "aria-label": label });
}

/** A link to the form that adds a fault to *proxy*. @param {string} proxy */
export function adder(proxy) {
	const href = addressOf("proxy", proxy, "add");
	return !readOnly() && h("a.button", { href, "aria-label": `Add a fault to ${shown(proxy)}` }, "+ Add a fault");
}

/**
 * A slider for a probability.
 * @param {string} label
 * @param {string} [value]
 */
export function chanceSlider(label, value) {
	return h("input", { type: "range", min: 0, max: 1, step: 0.01, "aria-label": label, value, disabled: readOnly() });
}

/**
 * Buttons that end a connection; *then* is done after it.
 * @param {string} proxy
 * @param {number} number
 * @param {() => unknown} [then]
 */
export function enders(proxy, number, then) {
	const path = `${proxyPath(proxy)}/connections/${number}`;
	const end = (/** @type {string} */ title, /** @type {string} */ method, /** @type {string} */ where, /** @type {string} */ how) =>
		button(
			title,
			async () => {
				if ((await attempt(() => call(method, where))) !== undefined) say(`Connection ${number} is ${how}.`);
				then?.();
			},
			{ class: "plain", "aria-label": `${title} connection ${number}` },
		);
	return readOnly() ? "" : h("span", end("Close", "DELETE", path, "closed"), end("Reset", "POST", `${path}/reset`, "reset"));
}

// A long table of which only the rows in sight are in the page: `<virtual-rows>`.

import { h, scrolled, setAttribute, setText } from "./dom.js";

const HEIGHT = 32; // px of a row
const MORE = 8; // rows above and below those in sight

/** @typedef {{title: string, class?: string, cell: (item: any) => string | Node}} ColumnOf */

/**
 * @param {string} title
 * @param {(one: any) => string | Node} cell
 * @returns {ColumnOf}
 */
export function column(title, cell, kind = "") {
	return { title, cell, class: kind };
}

class VirtualRows extends HTMLElement {
	/** @type {any[]} */
	items = [];
	/** @type {ColumnOf[]} */
	columns = [];
	/** @type {(item: any) => string | number} */
	keyOf = String;

	/**
	 * @param {string} label
	 * @param {ColumnOf[]} columns
	 * @param {(item: any) => string | number} keyOf
	 */
	begin(label, columns, keyOf) {
		this.columns = columns;
		this.keyOf = keyOf;
		const space = () => h("tr.space", { "aria-hidden": "true" }, h("td", { colspan: columns.length }));
		this.above = space();
		this.below = space();
		this.body = h("tbody", this.above, this.below);
		this.table = h(
			"table",
			{ "aria-label": label },
			h("thead", h("tr", ...columns.map((column) => h("th", { scope: "col", class: column.class }, column.title)))),
			this.body,
		);
		this.window = scrolled("div.window", label, this.table);
		this.window.addEventListener("scroll", () => this.draw());
		this.append(this.window);
		return this;
	}

	/** @param {any[]} items */
	show(items) {
		this.items = items;
		setAttribute(this.table, "aria-rowcount", items.length + 1);
		this.draw();
	}

	draw() {
		const first = Math.max(0, Math.floor(this.window.scrollTop / HEIGHT) - MORE);
		const last = Math.min(this.items.length, first + Math.ceil((this.window.clientHeight || 400) / HEIGHT) + 2 * MORE);
		const items = this.items.slice(first, last);
		const keys = new Set(items.map(this.keyOf));
		const known = new Map();
		for (const row of /** @type {any[]} */ ([...this.body.children].slice(1, -1))) {
			const away = !keys.has(row.key) && !row.contains(document.activeElement);
			if (away) row.remove();
			else known.set(row.key, row);
		}
		let place = this.above.nextElementSibling;
		for (const [offset, item] of items.entries()) {
			const row = known.get(this.keyOf(item)) ?? this.make(item);
			setAttribute(row, "aria-rowindex", first + offset + 2);
			this.fill(row, item);
			if (row === place) place = place.nextElementSibling;
			else this.body.insertBefore(row, place);
		}
		this.above.firstElementChild.style.height = `${first * HEIGHT}px`;
		this.below.firstElementChild.style.height = `${(this.items.length - last) * HEIGHT}px`;
	}

	/** @param {any} item */
	make(item) {
		return Object.assign(h("tr", ...this.columns.map((column) => h("td", { class: column.class }))), { key: this.keyOf(item) });
	}

	/**
	 * @param {any} row
	 * @param {any} item
	 */
	fill(row, item) {
		for (const [place, column] of this.columns.entries()) {
			const content = column.cell(item);
			const cell = row.children[place];
			if (!(content instanceof Node)) {
				setText(cell, content);
				setAttribute(cell, "title", content.length > 40 ? content : null);
			} else if (!cell.firstChild) cell.append(content);
		}
	}
}

customElements.define("virtual-rows", VirtualRows);

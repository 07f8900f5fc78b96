// What the screens share: an element that follows the store for as long as it is shown.

import { store } from "./store.js";

export class Screen extends HTMLElement {
	/** The names in the address: a proxy, a fault. @type {string[]} */
	names = [];
	left = new AbortController();

	connectedCallback() {
		this.begin();
	}

	disconnectedCallback() {
		this.left.abort();
	}

	/** Build it. */
	begin() {}

	/** Whether it is not shown any more. */
	get over() {
		return this.left.signal.aborted;
	}

	/**
	 * Do *act* again and again while this is shown: a second after it is done, or so many ms as it returns. It may fail,
	 * which the head of the page tells: the program is not reached.
	 * @param {() => Promise<number | void>} act
	 */
	async repeat(act) {
		while (!this.over) {
			const pause = await act().catch(() => {});
			await new Promise((resolve) => setTimeout(resolve, pause ?? 1000));
		}
	}

	/** The first name, of a proxy. */
	get proxy() {
		return this.names[0];
	}

	/** The proxy as it is configured; `undefined` if it is not there. */
	get configured() {
		return store.proxies.get(this.proxy);
	}

	/**
	 * Call *react* at each of the store's events *kinds*, while it is shown.
	 * @param {string[]} kinds
	 * @param {() => void} react
	 */
	follow(kinds, react) {
		for (const kind of kinds) store.addEventListener(kind, react, { signal: this.left.signal });
	}
}

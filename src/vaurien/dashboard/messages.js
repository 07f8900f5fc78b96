// Short messages at the foot of the page, spoken politely; and the questions that a person must answer.

import { button, h } from "./dom.js";
import { shown } from "./format.js";

const UNDO = 10_000; // ms
const STAYS = 6000; // ms

/** Whether this page may only read. */
export function readOnly() {
	return document.documentElement.dataset.mode === "read-only";
}

/**
 * @param {string} text
 * @param {...Node} more
 */
function toast(text, ...more) {
	const element = h("div.toast", h("p", text), ...more);
	document.querySelector(".toasts")?.append(element);
	return element;
}

/** @param {string} text */
export function say(text) {
	const element = toast(text);
	setTimeout(() => element.remove(), STAYS);
}

/** Say what failed; it stays until it is closed. @param {unknown} error */
export function complain(error) {
	const close = button("✕", () => element.remove(), { "aria-label": "Close this message" });
	const text = error instanceof TypeError ? "The program is not reached." : shown(error instanceof Error ? error.message : error);
	const element = toast(text, close);
	element.classList.add("failed");
}

/**
 * What *action* returns; `undefined` when it failed, and then the reason is shown.
 * @template T
 * @param {() => Promise<T>} action
 * @returns {Promise<T | undefined>}
 */
export async function attempt(action) {
	try {
		return await action();
	} catch (error) {
		complain(error);
		return undefined;
	}
}

/**
 * Say *text*, with a button that undoes it within ten seconds.
 * @param {string} text
 * @param {() => Promise<void>} undo
 */
export function offerUndo(text, undo) {
	const undone = button("Undo", async () => {
		clearTimeout(timer);
		element.remove();
		await attempt(async () => {
			await undo();
			say("Undone.");
		});
	});
	const element = toast(text, undone);
	const timer = setTimeout(() => element.remove(), UNDO);
}

/** Ask for the token until one is given. @returns {Promise<string>} */
export function tokenDialog() {
	return new Promise((resolve) => {
		const input = h("input", { type: "password", id: "token", autocomplete: "off", required: true });
		const submit = (/** @type {Event} */ event) => {
			event.preventDefault();
			dialog.close();
			dialog.remove();
			resolve(input.value.trim());
		};
		const form = h(
			"form",
			{ onsubmit: submit },
			h("h2", { id: "token-title" }, "This interface wants its token"),
			h("p", "It is the one of --token-file. It stays in this tab until the tab is closed."),
			h("label", { for: "token" }, "Token"),
			input,
			h("button", { type: "submit" }, "Continue"),
		);
		const dialog = h(
			"dialog",
			{ "aria-labelledby": "token-title", oncancel: (/** @type {Event} */ event) => event.preventDefault() },
			form,
		);
		document.body.append(dialog);
		dialog.showModal();
		input.focus();
	});
}

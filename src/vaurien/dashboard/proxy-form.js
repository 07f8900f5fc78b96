// The form that adds a proxy.

import { call } from "./api.js";
import { choices, h } from "./dom.js";
import { shown } from "./format.js";
import { say } from "./messages.js";
import { field, formOf, showError, showProblem } from "./schema-form.js";
import { store } from "./store.js";

/** A form behind a summary that opens it. */
export function addProxyForm() {
	const text = (/** @type {string} */ description) => ({ type: "string", description });
	const protocol = field("protocol", { enum: ["tcp"] }, "tcp", "Protocol");
	const fields = [
		field("name", text(""), "", "Name"),
		field("listen", text("host:port; port 0 is any free one"), "127.0.0.1:0", "Listens on"),
		field("backend", text("such as 127.0.0.1:6379"), "", "Backend"),
		protocol,
	];
	const form = formOf(fields, "Add the proxy", async () => {
		showError(fields, undefined, "");
		try {
			const made = await call("POST", "/proxies", Object.fromEntries(fields.map(({ name, input }) => [name, input.value.trim()])));
			form.reset();
			details.open = false;
			say(`Proxy ${shown(made.name)} listens on ${shown(made.address)}.`);
			await store.refresh();
		} catch (error) {
			showProblem(fields, error);
		}
	});
	const details = h("details.panel", { ontoggle: () => fillProtocols(protocol.input) }, h("summary", "Add a proxy"), form);
	return details;
}

/** @param {HTMLSelectElement} select */
async function fillProtocols(select) {
	if (select.options.length > 1) return;
	const { protocols } = await call("GET", "/protocols");
	select.replaceChildren(...choices(protocols, select.value));
}

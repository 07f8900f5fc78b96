// The form that adds a proxy.

import { ApiError, call } from "./api.js";
import { choices, h } from "./dom.js";
import { shown } from "./format.js";
import { complain, say } from "./messages.js";
import { store } from "./store.js";

/** A form behind a summary that opens it. */
export function addProxyForm() {
	const error = h("p", { class: "error", role: "alert", id: "proxy-error" });
	const fields = {
		name: h("input", { id: "proxy-name", required: true, maxlength: 200 }),
		listen: h("input", { id: "proxy-listen", value: "127.0.0.1:0", "aria-describedby": "proxy-listen-help" }),
		backend: h("input", { id: "proxy-backend", required: true, placeholder: "127.0.0.1:6379" }),
		protocol: h("select", { id: "proxy-protocol" }, ...choices(["tcp"])),
	};
	const submit = async (/** @type {Event} */ event) => {
		event.preventDefault();
		const body = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.value.trim()]));
		error.textContent = "";
		for (const field of Object.values(fields)) field.removeAttribute("aria-invalid");
		try {
			const made = await call("POST", "/proxies", body);
			form.reset();
			details.open = false;
			say(`Proxy ${shown(made.name)} listens on ${shown(made.address)}.`);
			await store.refresh();
		} catch (problem) {
			const field = problem instanceof ApiError ? /** @type {any} */ (fields)[problem.pointer?.slice(1) ?? ""] : null;
			if (!(problem instanceof ApiError)) complain(problem);
			else error.textContent = shown(problem.message);
			field?.setAttribute("aria-invalid", "true");
			field?.setAttribute("aria-errormessage", "proxy-error");
			field?.focus();
		}
	};
	const form = h(
		"form",
		{ class: "grid", onsubmit: submit },
		h("label", { for: "proxy-name" }, "Name"),
		fields.name,
		h("label", { for: "proxy-listen" }, "Listens on"),
		h("div", {}, fields.listen, h("p", { class: "help", id: "proxy-listen-help" }, "host:port; port 0 is any free one")),
		h("label", { for: "proxy-backend" }, "Backend"),
		fields.backend,
		h("label", { for: "proxy-protocol" }, "Protocol"),
		fields.protocol,
		error,
		h("button", { type: "submit" }, "Add the proxy"),
	);
	const details = h("details", { class: "panel", ontoggle: () => fillProtocols(fields.protocol) }, h("summary", {}, "Add a proxy"), form);
	return details;
}

/** @param {HTMLSelectElement} select */
async function fillProtocols(select) {
	if (select.options.length > 1) return;
	const { protocols } = await call("GET", "/protocols");
	const chosen = select.value;
	select.replaceChildren(...choices(protocols, chosen));
}

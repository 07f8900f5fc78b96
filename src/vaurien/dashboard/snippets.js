// A fault in the words of each interface, ready to copy.

import { faultPath, proxyPath } from "./api.js";
import { button, h, scrolled } from "./dom.js";
import { unmistakable } from "./format.js";
import { attempt, say } from "./messages.js";

const PLAIN = { stream: "both", probability: 1, scope: "connection", ttl: null, expect_hits: null, enabled: true };
const WINDOW = { skip: 0, count: null, every: 1, seconds: null };

/** What of *fault* was said, by the names of the command line. @param {any} fault @returns {[string, any][]} */
function words(fault) {
	const said = Object.entries(fault.options ?? {});
	const own = Object.entries(PLAIN).filter(([name, normal]) => name in fault && fault[name] !== normal);
	const window = Object.entries(WINDOW).filter(([name, normal]) => name in (fault.window ?? {}) && fault.window[name] !== normal);
	const match = Object.entries(fault.match ?? {}).map(([name, pattern]) => [`match.${name}`, pattern]);
	const named = fault.name && fault.name !== fault.behavior ? [["name", fault.name]] : [];
	return /** @type {any} */ ([
		...named,
		...said,
		...own.map(([name]) => [name, fault[name]]),
		...window.map(([name]) => [name === "seconds" ? "for" : name, fault.window[name]]),
		...match,
	]);
}

/** @param {string} text one word of a shell */
function quoted(text) {
	return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\"'\"'")}'`;
}

/** @param {any} value as the command line takes it */
function word(value) {
	if (typeof value === "boolean") return value ? "yes" : "no";
	return Array.isArray(value) ? value.join(",") : String(value);
}

/** @param {any} value as Python writes it @returns {string} */
function python(value) {
	if (value === null) return "None";
	if (typeof value === "boolean") return value ? "True" : "False";
	if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
	if (typeof value === "object")
		return `{${Object.entries(value)
			.map(([name, one]) => `${JSON.stringify(name)}: ${python(one)}`)
			.join(", ")}}`;
	return JSON.stringify(value);
}

/** @param {any} value as TOML writes it @returns {string} */
function toml(value) {
	return Array.isArray(value) ? `[${value.map(toml).join(", ")}]` : JSON.stringify(value);
}

/** @param {string} name a key of TOML */
function key(name) {
	return name
		.split(".")
		.map((part) => (/^[\w-]+$/.test(part) ? part : JSON.stringify(part)))
		.join(".");
}

/** A fault as `--fault` takes it. @param {any} fault */
export function faultText(fault) {
	return [fault.behavior, ...words(fault).map(([name, value]) => `${name}=${quoted(word(value))}`)].join(" ");
}

/**
 * @param {string} proxy
 * @param {any} body the fault as the API takes it
 * @param {boolean} exists whether it is there already
 * @returns {[string, string][]} titles and texts
 */
export function snippets(proxy, body, exists) {
	const said = words(body);
	const text = faultText(body);
	const fields = Object.entries(body);
	const path = exists ? faultPath(proxy, body.name) : `${proxyPath(proxy)}/faults`;
	const sent = exists ? Object.fromEntries(fields.filter(([name]) => name !== "name" && name !== "behavior")) : body;
	const call = exists ? "change_fault" : "add_fault";
	const first = exists ? [JSON.stringify(proxy), JSON.stringify(body.name)] : [JSON.stringify(proxy)];
	const names = Object.entries(sent).map(([name, value]) => `${name}=${python(value)}`);
	const list = /** @type {[string, string][]} */ ([
		["Command line", `vaurien --fault ${quoted(text)}`],
		["curl", `curl -X ${exists ? "PATCH" : "POST"} ${location.origin}/api/v1${path} -d ${quoted(JSON.stringify(sent))}`],
		["Python", `vaurien.client.at(${JSON.stringify(location.origin)}).${call}(${[...first, ...names].join(", ")})`],
		[
			"TOML",
			["[[fault]]", `behavior = ${toml(body.behavior)}`, ...said.map(([name, value]) => `${key(name)} = ${toml(value)}`)].join("\n"),
		],
		["pytest", `@pytest.mark.vaurien(backend="…", faults=[${JSON.stringify(text)}])`],
	]);
	return list.map(([title, lines]) => [title, lines.split("\n").map(unmistakable).join("\n")]);
}

/** @param {string} title */
export function copyable(title) {
	const code = h("code");
	const write = async () => {
		await attempt(() => navigator.clipboard.writeText(code.textContent ?? ""));
		say("Copied.");
	};
	return Object.assign(
		h("div.copy", h("h3", title), scrolled("pre", title, code), button("Copy", write, { "aria-label": `Copy: ${title}` })),
		{ code },
	);
}

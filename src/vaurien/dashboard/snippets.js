// A fault in the words of each interface, ready to copy.

import { faultPath, proxyPath, session } from "./api.js";
import { button, h, scrolled } from "./dom.js";
import { unmistakable } from "./format.js";
import { attempt, say } from "./messages.js";

const TOKEN_FILE = "VAURIEN_TOKEN_FILE"; // the variable that vaurienctl reads too
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
	return Array.isArray(value) ? value.map((one) => one.replace(/(\\*),/g, "$1$1\\,")).join(",") : String(value);
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
 * @param {any} proxy as it is configured
 * @param {any} body the fault as the API takes it
 * @param {boolean} exists whether it is there already
 * @returns {[string, string][]} titles and texts
 */
export function snippets({ name, backend, protocol }, body, exists) {
	const text = faultText(body);
	const { behavior, name: fault, ...rest } = body;
	const sent = exists ? rest : body;
	const path = exists ? faultPath(name, fault) : `${proxyPath(name)}/faults`;
	const url = quoted(`${location.origin}/api/v1${path}`);
	const [bearer, token] = session.token
		? [` -H "Authorization: Bearer $(cat $${TOKEN_FILE})"`, `, token=open(os.environ["${TOKEN_FILE}"]).read().strip()`]
		: ["", ""];
	const values = Object.entries(sent).map(([key, value]) => `${key}=${python(value)}`);
	const call = `${exists ? "change_fault" : "add_fault"}(${[...(exists ? [name, fault] : [name]).map(python), ...values].join(", ")})`;
	const list = /** @type {[string, string][]} */ ([
		["Command line", `vaurien --backend ${quoted(backend)} --protocol ${protocol} --fault ${quoted(text)}`],
		["curl", `curl -X ${exists ? "PATCH" : "POST"}${bearer} ${url} -d ${quoted(JSON.stringify(sent))}`],
		["Python", `import ${token && "os, "}vaurien.client\n\nvaurien.client.at(${python(location.origin)}${token}).${call}`],
		[
			"TOML",
			["[[fault]]", `behavior = ${toml(behavior)}`, ...words(body).map(([name, value]) => `${key(name)} = ${toml(value)}`)].join("\n"),
		],
		["pytest", `@pytest.mark.vaurien(backend=${python(backend)}, protocol=${python(protocol)}, faults=[${python(text)}])`],
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

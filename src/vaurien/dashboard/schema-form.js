// Fields of a form, made from a JSON Schema: a label, an input for the type, its help, and the place for its error.

import { ApiError } from "./api.js";
import { choices, h, setAttribute } from "./dom.js";
import { rounded, shown } from "./format.js";
import { complain, readOnly } from "./messages.js";

/** @typedef {{name: string, schema: any, input: any, row: HTMLElement, error: HTMLElement}} Field */

let made = 0;

/**
 * A field for the property *name*.
 * @param {string} name
 * @param {any} schema
 * @param {any} value what it is now, or undefined
 * @param {string} [title]
 * @returns {Field}
 */
export function field(name, schema, value, title = name.replaceAll("_", " ")) {
	made += 1;
	const id = `field-${made}`;
	const input = inputFor(schema, value, id);
	const range = rangeOf(schema);
	const help = [schema.description ?? "", range, defaultOf(schema)].filter(Boolean).join("; ");
	const error = h("p.error", { id: `${id}-error`, role: "alert" });
	const row = h("div.field", h("label", { for: id }, title), h("div", input, h("p.help", { id: `${id}-help` }, help), error));
	return { name, schema: plain(schema), input, row, error };
}

/** The schema without what it may be besides: nothing. @param {any} schema */
function plain(schema) {
	const own = schema.anyOf?.find((/** @type {any} */ one) => one.type !== "null") ?? {};
	const { anyOf, ...rest } = schema;
	return { ...own, ...rest, optional: Boolean(anyOf) };
}

/**
 * @param {any} schema
 * @param {any} value
 * @param {string} id
 */
function inputFor(schema, value, id) {
	const { type, enum: values, default: normal } = plain(schema);
	const now = value === undefined ? normal : value;
	const about = { id, "aria-describedby": `${id}-help` };
	if (values) return h("select", about, ...choices(values, now));
	if (type === "boolean") return h("input", { ...about, type: "checkbox", checked: now === true });
	if (type === "array") return h("textarea", { ...about, rows: 2, placeholder: "One a line" }, (now ?? []).join("\n"));
	const numeric = type === "number" || type === "integer";
	return h("input", {
		...about,
		type: "text",
		inputmode: numeric ? "decimal" : null,
		value: now === null || now === undefined ? "" : String(now),
		autocomplete: "off",
	});
}

/** @param {any} schema */
function rangeOf(schema) {
	const { minimum, maximum } = plain(schema);
	const least = minimum === undefined ? "" : `from ${rounded(minimum)}`;
	const most = maximum === undefined || maximum >= 1e9 ? "" : `to ${rounded(maximum)}`;
	return [least, most].filter(Boolean).join(" ");
}

/** @param {any} schema */
function defaultOf(schema) {
	const { default: normal, type } = plain(schema);
	if (normal === null || normal === undefined || normal === "" || type === "boolean" || (Array.isArray(normal) && !normal.length))
		return "";
	return `default ${shown(normal)}`;
}

/**
 * What was typed: a number where it is one, else the text itself, of which the program says what is wrong. `undefined`
 * for nothing, where that may be.
 * @param {Field} one
 */
export function typedValue({ schema, input }) {
	if (input.type === "checkbox") return input.checked;
	const text = input.value;
	if (schema.enum) return schema.enum.find((/** @type {any} */ one) => String(one) === text);
	if (schema.type === "array") return text.split("\n").filter(Boolean);
	if (schema.type === "number" || schema.type === "integer") {
		if (text.trim() === "") return schema.optional ? null : undefined;
		return Number.isFinite(Number(text)) ? Number(text) : text;
	}
	return text === "" && schema.optional ? null : text;
}

/** Whether a value is what it would be anyway. @param {any} schema @param {any} value */
export function isDefault(schema, value) {
	return value === undefined || JSON.stringify(value) === JSON.stringify(plain(schema).default ?? null);
}

/**
 * Show what is wrong beside its field; whether there is a field for it. Without a message the errors go away.
 * @param {Field[]} fields
 * @param {string | undefined} name
 * @param {string} message
 */
export function showError(fields, name, message) {
	let found = false;
	for (const { error, input, ...one } of fields) {
		const wrong = Boolean(message) && one.name === name;
		error.textContent = wrong ? shown(message) : "";
		setAttribute(input, "aria-invalid", wrong && "true");
		setAttribute(input, "aria-errormessage", wrong && error.id);
		if (!wrong) continue;
		input.closest("details")?.setAttribute("open", "");
		input.focus();
		found = true;
	}
	return found;
}

/**
 * Show what the program says is wrong beside the field that it names, or else as a message.
 * @param {Field[]} fields
 * @param {unknown} error
 */
export function showProblem(fields, error) {
	if (!(error instanceof ApiError) || !showError(fields, error.pointer?.split("/").pop(), error.message)) complain(error);
}

/**
 * A form of *fields* with a button; *submit* is what that does.
 * @param {Field[]} fields
 * @param {string} title
 * @param {() => unknown} submit
 */
export function formOf(fields, title, submit) {
	const onsubmit = (/** @type {Event} */ event) => {
		event.preventDefault();
		submit();
	};
	return h("form", { onsubmit }, ...fields.map((one) => one.row), !readOnly() && h("button", { type: "submit" }, title));
}

// The screen that adds a fault or changes one: a form made from the schemas of the program.

import { ApiError, ask, call, faultPath, proxyPath, addressOf } from "./api.js";
import { bar, button, choices, h, named, setAttribute, setText, sync } from "./dom.js";
import { chanceSlider, icon } from "./edit.js";
import { percent, shown } from "./format.js";
import { attempt, complain, readOnly, say } from "./messages.js";
import { asSent, removeFault } from "./overview.js";
import { field, formOf, isDefault, showError, typedValue } from "./schema-form.js";
import { copyable, snippets } from "./snippets.js";
import { Screen } from "./screen.js";
import { store } from "./store.js";

const COMMON = ["stream", "probability", "scope", "ttl", "expect_hits"];
const TITLES = { stream: "Direction", ttl: "Removes itself after (s)", expect_hits: "Expected hits", seconds: "for (s)" };

/** @type {Promise<any> | undefined} */
let asked;

/** The schemas of the API's bodies, and the presets, which are asked for once. @returns {Promise<any>} */
function bodySchemas() {
	asked ??= readSchemas();
	return asked;
}

/** @returns {Promise<any>} */
async function readSchemas() {
	const { components } = await (await ask("GET", "/openapi.json")).json();
	const resolved = (/** @type {any} */ schema) =>
		schema.$ref ? { ...components.schemas[schema.$ref.split("/").pop()], ...schema } : schema;
	const of = (/** @type {string} */ name) =>
		Object.fromEntries(Object.entries(components.schemas[name].properties).map(([key, one]) => [key, resolved(one)]));
	return { fault: of("Fault"), window: of("Window"), presets: (await call("GET", "/presets")).presets };
}

class FaultScreen extends Screen {
	/** The fault that is changed; empty for a new one. */
	fault = "";
	/** @type {any} */
	nameField;
	/** The proxy as it was last configured. @type {any} */
	told;

	begin() {
		this.fault = this.names[1] ?? "";
		this.start();
	}

	async start() {
		if (!store.loaded) await store.refresh();
		const proxy = this.configured;
		if (!proxy) {
			this.append(h("h1", "No such proxy"), h("p", `There is no proxy ${shown(this.proxy)}.`));
			return;
		}
		const loaded = await attempt(() =>
			Promise.all([
				call("GET", `/behaviors?protocol=${encodeURIComponent(proxy.protocol)}`),
				call("GET", `/protocols/${encodeURIComponent(proxy.protocol)}`),
				bodySchemas(),
			]),
		);
		if (!loaded || this.over) return;
		const [{ behaviors }, protocol, bodies] = loaded;
		this.behaviors = behaviors;
		this.matchable = protocol.fields;
		this.schemas = bodies;
		this.presets = bodies.presets.filter(
			(/** @type {any} */ one) => !one.schedule && (!one.protocols.length || one.protocols.includes(proxy.protocol)),
		);
		this.base = this.now();
		if (this.fault && !this.base) {
			this.append(h("h1", "No such fault"), h("p", `Proxy ${shown(this.proxy)} has no fault ${shown(this.fault)}.`), this.back());
			return;
		}
		this.build();
		this.follow(["proxies"], () => this.compare());
	}

	/** What is configured of this fault now, or null. */
	now() {
		const found = named(this.configured?.faults, this.fault);
		return found ? asSent(found) : null;
	}

	back() {
		return h("a", { href: addressOf("proxy", this.proxy) }, `Back to ${shown(this.proxy)}`);
	}

	build() {
		const editing = Boolean(this.fault);
		const value = this.base ?? { behavior: "latency", options: {}, window: {}, match: {} };
		this.notice = h("div.notice", { role: "status" });
		this.problem = h("p.error", { role: "alert" });
		this.behavior = h(
			"select",
			{ id: "behavior", disabled: editing, onchange: () => this.chooseBehavior({}) },
			...choices(this.behaviors, value.behavior),
		);
		this.summary = h("p.help");
		this.optionRows = h("div.fields");
		this.nameField = field("name", this.schemas.fault.name, value.name ?? "", "Name");
		setAttribute(this.nameField.input, "disabled", editing);
		this.common = COMMON.map((name) => field(name, this.schemas.fault[name], value[name], /** @type {any} */ (TITLES)[name]));
		this.window = Object.entries(this.schemas.window).map(([name, schema]) =>
			field(name, schema, value.window?.[name], /** @type {any} */ (TITLES)[name]),
		);
		this.conditions = h("div.matches");
		this.matchError = h("p.error", { role: "alert" });
		this.copies = h("div.copies");
		this.form = h(
			"form.fault",
			{ onsubmit: (/** @type {Event} */ event) => this.submit(event), oninput: () => this.showCopies() },
			h("div.field", h("label", { for: "behavior" }, "Behavior"), h("div", this.behavior, this.summary)),
			this.optionRows,
			this.nameField.row,
			h("fieldset", h("legend", "When it acts"), ...this.common.map((one) => one.row), this.slider()),
			h(
				"details.panel",
				{ open: this.window.some((one) => !isDefault(one.schema, typedValue(one))) },
				h("summary", "Window: which occasions count"),
				...this.window.map((one) => one.row),
			),
			h(
				"fieldset",
				h("legend", "Match: which clients and exchanges"),
				this.conditions,
				this.matchError,
				button("Add a condition", () => this.addMatch("", "")),
			),
			this.problem,
			bar(
				!readOnly() && h("button", { type: "submit" }, editing ? "Save the fault" : "Add the fault"),
				editing && !readOnly() && button("Remove the fault", () => this.removeIt()),
				this.back(),
			),
		);
		this.append(
			h("h1", editing ? "Change fault " : "Add a fault to ", h("bdi", shown(editing ? this.fault : this.proxy))),
			this.notice,
			!editing && !readOnly() ? this.presetForm() : "",
			this.form,
			h("h2", "The same elsewhere"),
			this.copies,
		);
		for (const [name, pattern] of Object.entries(value.match ?? {})) this.addMatch(name, String(pattern));
		this.chooseBehavior(value.options ?? {});
	}

	/** A slider beside the number of the probability: the two say the same. */
	slider() {
		const number = named(this.common, "probability").input;
		const slider = chanceSlider("Probability", number.value);
		const output = h("output", percent(Number(number.value)));
		slider.addEventListener("input", () => {
			number.value = slider.value;
			setText(output, percent(Number(slider.value)));
		});
		number.addEventListener("input", () => {
			slider.value = number.value;
			setText(output, Number.isFinite(Number(number.value)) ? percent(Number(number.value)) : "");
		});
		number.after(slider, output);
		return null;
	}

	presetForm() {
		const chosen = () => named(this.presets, choice.input.value);
		const choice = field("preset", { enum: this.presets.map((/** @type {any} */ one) => one.name) }, undefined, "Preset");
		const show = () => setText(about, chosen()?.about ?? "");
		const about = h("p.help");
		choice.input.after(about);
		choice.input.addEventListener("change", show);
		show();
		const form = formOf([choice], "Add the preset", async () => {
			const faults = [...(this.configured?.faults ?? []).map(asSent), ...chosen().fault_bodies];
			if (await attempt(() => call("PATCH", proxyPath(this.proxy), { faults }))) this.done(`Preset ${choice.input.value} is added.`);
		});
		return h("details.panel", h("summary", "Use a preset"), form);
	}

	/** @param {Record<string, any>} values */
	chooseBehavior(values) {
		const chosen = named(this.behaviors, this.behavior.value);
		setText(this.summary, chosen?.summary ?? "");
		this.options = Object.entries(chosen?.options.properties ?? {}).map(([name, schema]) => field(name, schema, values[name]));
		this.optionRows.replaceChildren(...this.options.map((one) => one.row));
		this.nameField.input.placeholder = this.behavior.value;
		this.showCopies();
	}

	/**
	 * @param {string} name
	 * @param {string} pattern
	 */
	addMatch(name, pattern) {
		const list = `fields-${this.conditions.children.length}-${Date.now()}`;
		const row = h(
			"div.bar.match",
			h("input", { "aria-label": "Field", list, value: name, placeholder: "client", autocomplete: "off" }),
			h("datalist", { id: list }, ...choices(this.matchable)),
			h("input", {
				"aria-label": "Pattern",
				value: pattern,
				placeholder: "10.0.0.0/8, glob:/api/*",
				autocomplete: "off",
			}),
			icon("✕", "Remove this condition", () => row.remove() || this.showCopies()),
		);
		this.conditions.append(row);
	}

	/** The fault as typed; what is as it would be anyway is left out. */
	typed() {
		const chosen = (/** @type {import("./schema-form.js").Field[]} */ fields) =>
			Object.fromEntries(
				fields
					.map((one) => /** @type {[string, any]} */ ([one.name, typedValue(one)]))
					.filter(([name, value]) => !isDefault(named(fields, name)?.schema, value)),
			);
		/** @type {Record<string, any>} */
		const body = { behavior: this.behavior.value, ...chosen(this.common ?? []) };
		const name = this.nameField?.input.value;
		if (name) body.name = name;
		const options = chosen(this.options ?? []);
		const window = chosen(this.window ?? []);
		const rows = [...this.conditions.querySelectorAll(".match")].map((row) => [...row.querySelectorAll("input")].map((one) => one.value));
		const match = Object.fromEntries(rows.filter(([one]) => one));
		if (Object.keys(options).length) body.options = options;
		if (Object.keys(window).length) body.window = window;
		if (Object.keys(match).length) body.match = match;
		return body;
	}

	/** What changes the fault of before into the one typed: what is not said any more becomes null. */
	change() {
		const { behavior, name, ...body } = this.typed();
		const cleared = (/** @type {any} */ before, /** @type {any} */ now) => ({
			...Object.fromEntries(Object.keys(before ?? {}).map((key) => [key, null])),
			...now,
		});
		return {
			...Object.fromEntries(COMMON.map((key) => [key, null])),
			...body,
			options: cleared(this.base?.options, body.options),
			window: cleared(this.base?.window, body.window),
			match: cleared(this.base?.match, body.match),
		};
	}

	showCopies() {
		this.told = this.configured ?? this.told;
		const body = this.typed();
		const list = snippets(this.told, body, Boolean(this.fault));
		sync(
			this.copies,
			list,
			([title]) => copyable(title),
			(element, [, text]) => setText(element.code, text),
		);
	}

	/** @param {Event} event */
	async submit(event) {
		event.preventDefault();
		this.showProblem(undefined, "");
		try {
			if (this.fault && this.base) {
				await this.save();
				this.done(`Fault ${shown(this.fault)} is changed.`);
			} else {
				const made = await call("POST", `${proxyPath(this.proxy)}/faults`, this.typed());
				this.done(`Fault ${shown(made.name)} is added.${made.warning ? ` It changes nothing: ${made.warning}.` : ""}`);
			}
		} catch (error) {
			if (error instanceof ApiError) this.showProblem(error.pointer, error.message);
			else complain(error);
		}
	}

	/** Save, unless the fault has changed since it was shown. */
	async save() {
		const path = faultPath(this.proxy, this.fault);
		for (;;) {
			const revision = store.revision;
			if (JSON.stringify(this.now()) !== JSON.stringify(this.base)) {
				this.compare();
				throw new ApiError(409, "the fault was changed elsewhere meanwhile; look above");
			}
			try {
				await call("PATCH", `${path}?revision=${revision}`, this.change());
				return;
			} catch (error) {
				if (!(error instanceof ApiError) || error.status !== 409) throw error;
				await store.refresh(); // another part of the configuration was changed, or this fault
				if (store.revision === revision) throw error;
			}
		}
	}

	/**
	 * @param {string | undefined} pointer
	 * @param {string} message
	 */
	showProblem(pointer, message) {
		const [, part, name] = (pointer ?? "").split("/");
		const nested = showError(this.options ?? [], part === "options" ? name : undefined, message);
		const windowed = showError(this.window ?? [], part === "window" ? name : undefined, message);
		const common = showError([...(this.common ?? []), /** @type {any} */ (this.nameField)], part, message);
		const matched = part === "match";
		setText(this.matchError, matched ? shown(message) : "");
		setText(this.problem, nested || windowed || common || matched ? "" : shown(message));
	}

	/** Show what another page, or the program, did to the fault that is shown. */
	compare() {
		if (!this.fault || !this.base || this.finished) return;
		const now = this.now();
		if (JSON.stringify(now) === JSON.stringify(this.base)) return;
		if (!now) {
			this.notice.replaceChildren(h("p", "This fault is gone. What you typed can be added as a new one."));
			this.base = null;
			const submit = this.form.querySelector("button[type=submit]");
			if (submit) setText(submit, "Add the fault");
			return;
		}
		const was = this.base;
		const changes = differences(was, now).map((one) => h("li", one));
		const take = button("Take what it is now", () => {
			this.replaceChildren();
			this.base = now;
			this.build();
		});
		const keep = button("Keep what I typed", () => {
			this.base = now;
			this.notice.replaceChildren();
		});
		this.notice.replaceChildren(h("p", "This fault was changed elsewhere meanwhile:"), h("ul", ...changes), bar(take, keep));
	}

	async removeIt() {
		this.finished = true;
		await removeFault(this.proxy, this.fault);
		location.hash = addressOf("proxy", this.proxy);
	}

	/** @param {string} text */
	async done(text) {
		this.finished = true;
		say(text);
		await store.refresh();
		location.hash = addressOf("proxy", this.proxy);
	}
}

/**
 * What differs between two faults, in words.
 * @param {any} one
 * @param {any} other
 * @param {string} [prefix]
 * @returns {string[]}
 */
export function differences(one, other, prefix = "") {
	const keys = new Set([...Object.keys(one ?? {}), ...Object.keys(other ?? {})]);
	return [...keys].flatMap((key) => {
		const [before, now] = [one?.[key], other?.[key]];
		if (JSON.stringify(before) === JSON.stringify(now)) return [];
		const nested = [before, now].every((value) => value && typeof value === "object" && !Array.isArray(value));
		const word = (/** @type {any} */ value) =>
			value === undefined ? "nothing" : shown(typeof value === "string" ? value : JSON.stringify(value));
		return nested ? differences(before, now, `${prefix}${key}.`) : [`${prefix}${key}: ${word(before)} → ${word(now)}`];
	});
}

customElements.define("fault-screen", FaultScreen);

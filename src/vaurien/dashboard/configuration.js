// The screen of the configuration: how the program was started, its proxies to take away, and others to put in.

import { call } from "./api.js";
import { bar, button, h, setText, table } from "./dom.js";
import { edit } from "./edit.js";
import { download } from "./events.js";
import { differences } from "./fault-form.js";
import { shown } from "./format.js";
import { attempt, readOnly } from "./messages.js";
import { copyable } from "./snippets.js";
import { Screen } from "./screen.js";
import { store } from "./store.js";

/** @param {unknown} value */
const pretty = (value) => JSON.stringify(value, null, 2);

/** Titles, names of files, and what is in them, of the texts and of the configuration. @type {[string, string, (texts: any, now: any) => string][]} */
const EXPORTS = [
	["TOML", "vaurien.toml", ({ toml }) => toml],
	["ini (the first proxy)", "vaurien.ini", ({ ini }) => ini],
	["JSON", "vaurien.json", (_, { proxies }) => pretty({ proxies })],
	["Toxiproxy JSON", "toxiproxy.json", ({ toxiproxy }) => pretty(toxiproxy)],
];

class ConfigurationScreen extends Screen {
	begin() {
		this.build();
		this.follow(["proxies"], () => this.showClients());
		this.showClients();
		this.showSettings();
	}

	build() {
		this.about = h("p");
		this.settings = h("tbody");
		this.clients = h("div.copies");
		this.text = h("textarea", { id: "import", rows: 8, spellcheck: "false" });
		this.file = h("input", { type: "file", id: "import-file", accept: ".json,.toml", onchange: () => this.readFile() });
		this.difference = h("div.notice", { role: "status" });
		this.problem = h("p.error", { role: "alert" });
		const read = () => Promise.all([call("GET", "/config/text"), call("GET", "/config")]);
		const exports = EXPORTS.map(([title, file, text]) => button(title, () => attempt(async () => download(file, text(...(await read()))))));
		this.append(
			h("h1", "Configuration"),
			this.about,
			h("h2", "Connect clients"),
			this.clients,
			h("h2", "Export"),
			bar(...exports),
			...(readOnly() ? [] : this.importing()),
			h("h2", "How the program was started"),
			table("Options", ["Section", "Option", "Value", "From"], this.settings),
		);
	}

	importing() {
		return [
			h("h2", "Import"),
			h("p.help", "JSON or TOML as exported here. What it would change is shown first."),
			h("div.field", h("label", { for: "import-file" }, "File"), this.file),
			h("div.field", h("label", { for: "import" }, "or text"), this.text),
			this.problem,
			button("Show what it would change", () => this.compare()),
			this.difference,
		];
	}

	async readFile() {
		this.text.value = (await this.file.files?.[0]?.text()) ?? "";
	}

	/** The proxies of the text; JSON begins with a bracket, and TOML is read by the program. @returns {Promise<any[]>} */
	async wanted() {
		const text = this.text.value.trim();
		if (!/^(\{|\[(?!\[))/.test(text)) return (await call("POST", "/config/text", { toml: text })).proxies;
		const value = JSON.parse(text);
		const list = Array.isArray(value) ? value : value.proxies;
		if (!Array.isArray(list)) throw new Error('expected an object with a list "proxies".');
		return list;
	}

	async compare() {
		setText(this.problem, "");
		this.difference?.replaceChildren();
		try {
			this.show(await this.wanted(), await call("GET", "/config"));
		} catch (error) {
			setText(this.problem, `This cannot be imported: ${shown(error instanceof Error ? error.message : error)}`);
		}
	}

	/**
	 * Show what *list* would change, with a button that has it so: what it does not say of a proxy stays.
	 * @param {any[]} list
	 * @param {any} now
	 */
	show(list, now) {
		const [before, after] = [now.proxies, list].map((all) => new Map(all.map((/** @type {any} */ one) => [one.name, one])));
		const whole = list.map((one) => ({ ...before.get(one.name), ...one }));
		const changes = [...new Set([...before.keys(), ...after.keys()])].flatMap((name) => {
			if (!after.has(name)) return [`${shown(name)}: deleted`];
			if (!before.has(name)) return [`${shown(name)}: added`];
			return differences(before.get(name), { ...before.get(name), ...after.get(name) }).map((one) => `${shown(name)}: ${one}`);
		});
		const apply = async () => {
			const path = `/config?revision=${now.revision}`;
			if (await edit("PUT", path, { proxies: whole }, "The configuration is applied.")) this.difference?.replaceChildren();
		};
		this.difference?.replaceChildren(
			changes.length ? h("ul", ...changes.map((one) => h("li", one))) : h("p", "It changes nothing."),
			changes.length ? button("Apply it", apply) : "",
		);
	}

	async showSettings() {
		const found = await attempt(() => call("GET", "/settings"));
		if (!found) return;
		setText(
			this.about,
			`Vaurien ${found.version}. New proxies get the seed ${shown(found.seed)}: with it the same connections are hit again.`,
		);
		const text = (/** @type {any} */ one) =>
			(one.value === null ? "-" : shown(Array.isArray(one.value) ? one.value.join(", ") : one.value)) + (one.unit ? ` ${one.unit}` : "");
		const rows = found.settings.map((/** @type {any} */ one) =>
			h("tr", h("td", one.section), h("th", { scope: "row" }, one.name), h("td", text(one)), h("td", shown(one.source))),
		);
		this.settings?.replaceChildren(...rows);
	}

	showClients() {
		const made = [...store.proxies.values()].slice(0, 20).map((proxy) => {
			const element = copyable(shown(proxy.name));
			setText(element.code, proxy.address);
			return element;
		});
		const about = made.length ? "Give a client one of these addresses instead of that of its backend:" : "There is no proxy yet.";
		this.clients?.replaceChildren(h("p", about), ...made);
	}
}

customElements.define("configuration-screen", ConfigurationScreen);

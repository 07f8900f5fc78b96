// The screen of the configuration: how the program was started, its proxies to take away, and others to put in.

import { call } from "./api.js";
import { bar, button, h, head, setText } from "./dom.js";
import { download } from "./events.js";
import { differences } from "./fault-form.js";
import { mixText, shown } from "./format.js";
import { attempt, complain, readOnly, say } from "./messages.js";
import { copyable, faultText } from "./snippets.js";
import { Screen } from "./screen.js";
import { store } from "./store.js";

const PLAIN = { protocol: "tcp", protocol_options: {}, enabled: true };

/**
 * What is to be written of a proxy: names and values.
 * @param {any} proxy
 * @param {string} listen
 * @param {string} mix
 * @param {(faults: string[]) => any} lines
 * @returns {[string, any][]}
 */
function said(proxy, listen, mix, lines) {
	const { name, backend, protocol, seed } = proxy;
	const told = { name, [listen]: proxy.listen, backend, protocol, [mix]: mixText(proxy.mix), seed };
	const all = { ...told, fault: proxy.faults.length && lines(proxy.faults.map(faultText)) };
	return Object.entries(all).filter(([, value]) => value);
}

/** The proxies as a file of `vaurien`, with a table for each. @param {any[]} proxies */
export function asToml(proxies) {
	const lines = proxies.flatMap((proxy) => {
		const told = said(proxy, "listen", "mix", (faults) => faults);
		return ["[[proxy]]", ...told.map(([name, value]) => `${name} = ${JSON.stringify(value)}`), ""];
	});
	return lines.join("\n");
}

/** The first proxy as an ini file of `vaurien`, which holds one. @param {any[]} proxies */
export function asIni([proxy]) {
	if (!proxy) return "[vaurien]\n";
	const told = said(proxy, "proxy", "behavior", (faults) => faults.map((one) => `\n    ${one}`).join(""));
	return `[vaurien]\n${told.map(([name, value]) => `${name} = ${value}`).join("\n")}\n`;
}

/** The proxies as Toxiproxy lists them; a mix it does not know. @param {any[]} proxies */
export function asToxiproxy(proxies) {
	const toxic = (/** @type {any} */ fault) => ({
		name: fault.name,
		type: fault.behavior,
		stream: fault.stream === "upstream" ? "upstream" : "downstream",
		toxicity: fault.probability,
		attributes: fault.options,
	});
	const list = proxies.map(({ name, listen, backend, faults, enabled = true }) => ({
		name,
		listen,
		upstream: backend,
		enabled,
		toxics: faults.map(toxic),
	}));
	return JSON.stringify(list, null, 2);
}

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
		this.clients = h("div", { class: "copies" });
		this.text = h("textarea", { id: "import", rows: 8, spellcheck: "false" });
		this.file = h("input", {
			type: "file",
			id: "import-file",
			accept: ".json,application/json",
			onchange: () => this.readFile(),
		});
		this.difference = h("div", { class: "notice", role: "status" });
		this.problem = h("p", { class: "error", role: "alert" });
		const exporting = (/** @type {string} */ title, /** @type {() => Promise<[string, string]>} */ made) =>
			button(title, () => attempt(async () => download(...(await made()))));
		this.append(
			h("h1", {}, "Configuration"),
			this.about,
			h("h2", {}, "Connect clients"),
			this.clients,
			h("h2", {}, "Export"),
			bar(
				exporting("TOML", async () => ["vaurien.toml", asToml(await proxies())]),
				exporting("ini (the first proxy)", async () => ["vaurien.ini", asIni(await proxies())]),
				exporting("JSON", async () => ["vaurien.json", JSON.stringify({ proxies: await proxies() }, null, 2)]),
				exporting("Toxiproxy JSON", async () => ["toxiproxy.json", asToxiproxy(await proxies())]),
			),
			...(readOnly() ? [] : this.importing()),
			h("h2", {}, "How the program was started"),
			h(
				"table",
				{ class: "settings" },
				h("caption", { class: "unseen" }, "Options"),
				head(["Section", "Option", "Value", "From"]),
				this.settings,
			),
		);
	}

	importing() {
		return [
			h("h2", {}, "Import"),
			h("p", { class: "help" }, "JSON as exported here. What it would change is shown first."),
			h("div", { class: "field" }, h("label", { for: "import-file" }, "File"), this.file),
			h("div", { class: "field" }, h("label", { for: "import" }, "or text"), this.text),
			this.problem,
			button("Show what it would change", () => this.compare()),
			this.difference,
		];
	}

	async readFile() {
		this.text.value = (await this.file.files?.[0]?.text()) ?? "";
	}

	async compare() {
		setText(this.problem, "");
		this.difference?.replaceChildren();
		let wanted;
		try {
			wanted = JSON.parse(this.text.value);
		} catch (error) {
			setText(this.problem, `This is not JSON: ${shown(error instanceof Error ? error.message : error)}`);
			return;
		}
		const list = Array.isArray(wanted) ? wanted : wanted.proxies;
		if (!Array.isArray(list)) {
			setText(this.problem, 'Expected an object with a list "proxies".');
			return;
		}
		const now = await attempt(() => call("GET", "/config"));
		if (!now) return;
		const [before, after] = [byName(now.proxies), byName(list)];
		const names = [...new Set([...before.keys(), ...after.keys()])];
		const changes = names.flatMap((name) => {
			if (!after.has(name)) return [`${shown(name)}: deleted`];
			if (!before.has(name)) return [`${shown(name)}: added`];
			return differences(before.get(name), { ...before.get(name), ...after.get(name) }).map((one) => `${shown(name)}: ${one}`);
		});
		const apply = button("Apply it", () => this.apply(list, now.revision));
		this.difference?.replaceChildren(
			changes.length ? h("ul", {}, ...changes.map((one) => h("li", {}, one))) : h("p", {}, "It changes nothing."),
			changes.length ? apply : "",
		);
	}

	/**
	 * @param {any[]} list
	 * @param {number} revision
	 */
	async apply(list, revision) {
		const before = byName((await call("GET", "/config")).proxies);
		const whole = list.map((/** @type {any} */ one) => ({ ...before.get(one.name), ...one }));
		try {
			await call("PUT", `/config?revision=${revision}`, { proxies: whole });
			this.difference?.replaceChildren();
			say("The configuration is applied.");
		} catch (error) {
			complain(error);
		}
		await store.refresh();
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
			h("tr", {}, h("td", {}, one.section), h("th", { scope: "row" }, one.name), h("td", {}, text(one)), h("td", {}, shown(one.source))),
		);
		this.settings?.replaceChildren(...rows);
	}

	showClients() {
		const list = [...store.proxies.values()].slice(0, 20);
		if (!list.length) {
			this.clients?.replaceChildren(h("p", { class: "hint" }, "There is no proxy yet."));
			return;
		}
		const made = list.map((proxy) => {
			const element = copyable(shown(proxy.name));
			setText(element.code, proxy.address);
			return element;
		});
		this.clients?.replaceChildren(h("p", {}, "Give a client one of these addresses instead of that of its backend:"), ...made);
	}
}

/** @returns {Promise<any[]>} the proxies, without what they would have anyway */
async function proxies() {
	const { proxies: list } = await call("GET", "/config");
	return list.map((/** @type {any} */ one) =>
		Object.fromEntries(
			Object.entries(one).filter(
				([name, value]) => JSON.stringify(value) !== JSON.stringify(/** @type {any} */ (PLAIN)[name]) || name === "protocol",
			),
		),
	);
}

/** @param {any[]} list @returns {Map<string, any>} */
function byName(list) {
	return new Map(list.map((one) => [one.name, one]));
}

customElements.define("configuration-screen", ConfigurationScreen);

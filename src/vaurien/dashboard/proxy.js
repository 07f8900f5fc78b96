// The screen of one proxy: charts, its chain of faults, its connections.

import { call, faultPath, proxyPath, addressOf, eventsOf } from "./api.js";
import { showCharts } from "./chart.js";
import { bar, button, h, named, setAttribute, setText, sync } from "./dom.js";
import { adder, chanceSlider, changeFault, edit, enders, icon, switchOf, turn } from "./edit.js";
import { bytes, clock, counted, duration, percent, shown } from "./format.js";
import { messages } from "./live.js";
import { attempt, offerUndo, readOnly, say } from "./messages.js";
import { asSent, differsOf, howToSend, removeFault, switchProxy, timeLeft } from "./overview.js";
import { field, formOf, isDefault, showError, showProblem, typedValue } from "./schema-form.js";
import { Screen } from "./screen.js";
import { store } from "./store.js";
import { column } from "./virtual-rows.js";

const SHOWN = 900; // seconds of the charts
const KEPT = 2000; // exchanges
const SLOWEST = 50; // how many times as long as it takes to read the connections is waited before the next time

class ProxyScreen extends Screen {
	begin() {
		this.schemas = new Map();
		this.build();
		this.follow(["proxies"], () => this.update());
		this.follow(["tick"], () => this.draw());
		this.update();
		store.backfill(`?proxy=${encodeURIComponent(this.proxy)}`);
		this.repeat(() => this.readConnections());
		this.repeat(() => this.readExchanges());
	}

	build() {
		const name = this.proxy;
		this.gone = h("p.warning", { role: "status" });
		this.about = h("p.ways");
		this.hint = h("p.hint");
		this.on = switchOf(`Proxy ${shown(name)}`, (on) => switchProxy(name, on));
		this.charts = h("div.charts", { onchosen: (/** @type {CustomEvent} */ event) => this.showEvents(event.detail) });
		this.chains = h("dl.chains");
		this.faults = h("ol.faults", { "aria-label": "Faults, in the order in which they act" });
		this.mix = h("p.mix");
		this.noConnection = h("p.hint");
		this.connections = /** @type {any} */ (h("virtual-rows")).begin(
			"Open connections",
			[
				column("Number", (one) => String(one.number), "number"),
				column("Client", (one) => shown(one.peer)),
				column("Age", (one) => duration(one.age), "number"),
				column("To backend", (one) => bytes(one.sent), "number"),
				column("To client", (one) => bytes(one.received), "number"),
				column("Exchanges", (one) => String(one.exchanges ?? ""), "number"),
				column("Hit by", (one) => shown(one.faults.join(", "))),
				...(readOnly() ? [] : [column("End it", (one) => enders(this.proxy, one.number))]),
			],
			(/** @type {any} */ one) => one.number,
		);
		this.noExchange = h("p.hint");
		this.exchanges = /** @type {any} */ (h("virtual-rows")).begin(
			"Exchanges",
			[
				column("Time", (one) => clock(one.at), "number"),
				column("Connection", (one) => `${one.connection}, ${one.exchange}`, "number"),
				column("Request", (one) => shown(Object.values(one.request).join(" "))),
				column("Status", (one) => shown(one.status) || (one.answered ? "answered" : "no answer")),
				column("Took", (one) => duration(one.seconds), "number"),
				column("Hit by", (one) => shown(one.hits.join(", "))),
			],
			(/** @type {any} */ one) => one.key,
		);
		this.append(
			h("h1", h("bdi", shown(name))),
			this.gone,
			bar(this.on, this.about, !readOnly() && button("Delete the proxy", () => this.delete())),
			this.hint,
			h("h2", "Faults"),
			this.mix,
			this.chains,
			this.faults,
			adder(name),
			h("h2", "The last 15 minutes"),
			h(
				"p.help",
				"A vertical line is a change of the faults. A click shows the events of that second. Figures are taken while a page is open.",
			),
			this.charts,
			h("h2", "Connections"),
			this.noConnection,
			this.connections,
			h("h2", "Exchanges"),
			this.noExchange,
			this.exchanges,
			h("p", h("a", { href: eventsOf({ proxy: name }) }, "Its events")),
		);
	}

	update() {
		const proxy = this.configured;
		setText(this.gone, store.loaded && !proxy ? "This proxy does not exist any more, or not yet." : differsOf(proxy));
		if (!proxy) return;
		setText(this.about, `${shown(proxy.address)} → ${shown(proxy.backend)}, ${proxy.protocol}, seed ${shown(proxy.seed)}`);
		turn(this.on, proxy.enabled);
		setText(this.hint, proxy.accepted ? "" : `No traffic yet. ${howToSend(proxy)}`);
		setText(
			this.mix,
			proxy.mix.length
				? `Mix: ${proxy.mix.map((/** @type {any} */ share) => `${share.percent} % ${share.behavior}`).join(", ")}, the rest undisturbed`
				: "",
		);
		const acting = proxy.faults.filter((/** @type {any} */ fault) => fault.enabled !== false);
		const way = (/** @type {string} */ stream) =>
			acting
				.filter((/** @type {any} */ fault) => fault.stream === "both" || fault.stream === stream)
				.map((/** @type {any} */ fault) => shown(fault.name));
		const chains = [
			["Client to backend", ["client", ...way("upstream"), "backend"].join(" → ")],
			["Backend to client", ["backend", ...way("downstream"), "client"].join(" → ")],
		];
		sync(
			this.chains,
			chains,
			([title]) => h("div", h("dt", title), h("dd")),
			(row, [, text]) => setText(row.lastElementChild, text),
		);
		sync(
			this.faults,
			proxy.faults,
			(fault) => this.makeFault(fault),
			(item, fault) => this.updateFault(item, fault, proxy),
		);
		this.draw();
	}

	/** Show the events of the second at *time* of the charts. @param {number} time */
	showEvents(time) {
		const last = store.steps.get(this.proxy)?.at(-1);
		if (last) location.hash = eventsOf({ proxy: this.proxy, time: clock(last.at - last.uptime + time) });
	}

	draw() {
		const proxy = this.configured;
		const steps = store.steps.get(this.proxy) ?? [];
		const to = steps.at(-1)?.uptime ?? 0;
		const at = steps.at(-1)?.at ?? Date.now() / 1000;
		const marks = store.changes
			.filter((change) => change.proxy === this.proxy)
			.map((change) => ({
				time: change.uptime,
				text: `${clock(change.at)} ${change.faults.length ? `faults ${change.faults.map(shown).join(", ")}` : "no fault"}${change.mix ? `, mix ${shown(change.mix)}` : ""}`,
			}));
		const view = { marks, from: to - SHOWN, to, label: (/** @type {number} */ time) => clock(at - to + time) };
		showCharts(
			/** @type {Element} */ (this.charts),
			steps.map((step) => ({ ...step, time: step.uptime })),
			view,
		);
		for (const item of /** @type {any} */ (this.faults).children) if (proxy) this.showFacts(item, proxy);
	}

	// Faults.

	/** @param {any} fault */
	makeFault(fault) {
		const name = shown(fault.name);
		const href = addressOf("proxy", this.proxy, "fault", fault.name);
		const parts = {
			on: switchOf(`Fault ${name}`, (enabled) => changeFault(this.proxy, fault.name, { enabled })),
			facts: h("span.facts"),
			slider: chanceSlider(`Probability of ${name}`),
			chance: h("output"),
			options: h("details", h("summary", `Options of ${name}`)),
		};
		parts.slider.addEventListener("input", () => setText(parts.chance, percent(Number(parts.slider.value))));
		parts.slider.addEventListener("change", () => changeFault(this.proxy, fault.name, { probability: Number(parts.slider.value) }));
		parts.options.addEventListener("toggle", () => parts.options.open && this.editOptions(fault.name, parts.options));
		const item = h(
			"li",
			bar(!readOnly() && this.handle(fault.name), parts.on, h("a", { href }, h("bdi", name)), parts.facts),
			bar(h("span", "Probability"), parts.slider, parts.chance),
			bar(
				icon("▲", `Move ${name} up`, () => this.move(fault.name, -1)),
				icon("▼", `Move ${name} down`, () => this.move(fault.name, 1)),
				icon("✕", `Remove fault ${name}`, () => removeFault(this.proxy, fault.name)),
			),
			parts.options,
		);
		return Object.assign(item, { parts, fault: fault.name });
	}

	/** What a mouse, a pen or a finger moves a fault by; for the keyboard there are buttons. @param {string} name */
	handle(name) {
		const grip = h("span.grip", { "aria-hidden": "true" }, "⠿");
		grip.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => grip.setPointerCapture(event.pointerId));
		grip.addEventListener("pointerup", (/** @type {PointerEvent} */ event) => {
			const other = /** @type {any} */ (document.elementFromPoint(event.clientX, event.clientY)?.closest(".faults > li"));
			if (other) this.moveTo(name, other.fault);
		});
		return grip;
	}

	/**
	 * @param {any} item
	 * @param {any} fault
	 * @param {any} proxy
	 */
	updateFault(item, fault, proxy) {
		const { on, slider, chance } = item.parts;
		turn(on, fault.enabled !== false);
		if (document.activeElement !== slider || !slider.matches(":active")) slider.value = String(fault.probability);
		setText(chance, percent(Number(slider.value)));
		this.showFacts(item, proxy);
	}

	/**
	 * @param {any} item
	 * @param {any} proxy
	 */
	showFacts(item, proxy) {
		const fault = named(proxy.faults, item.fault);
		if (!fault) return;
		const state = proxy.fault_states[fault.name];
		const options = Object.entries(fault.options).map(
			([name, value]) => `${name}=${shown(Array.isArray(value) ? value.join(",") : value)}`,
		);
		const match = Object.entries(fault.match).map(([name, pattern]) => `${shown(name)}=${shown(pattern)}`);
		const facts = [
			fault.behavior,
			...options,
			fault.stream === "both" ? "both ways" : fault.stream === "upstream" ? "to the backend" : "to the client",
			match.length ? `for ${match.join(" ")}` : "",
			state?.hits ? `${counted(state.hits, "hit")}, ${counted(state.connections_hit, "connection")}` : "no hit yet",
			timeLeft(state),
		];
		setText(item.parts.facts, facts.filter(Boolean).join(", "));
	}

	/**
	 * @param {string} name
	 * @param {number} by
	 */
	move(name, by) {
		const faults = this.configured?.faults ?? [];
		const other = faults[faults.indexOf(named(faults, name)) + by];
		if (other) this.moveTo(name, other.name);
	}

	/**
	 * Put the fault *name* where *other* is.
	 * @param {string} name
	 * @param {string} other
	 */
	async moveTo(name, other) {
		const faults = (this.configured?.faults ?? []).map(asSent);
		const [from, to] = [name, other].map((one) => faults.indexOf(named(faults, one)));
		if (from < 0 || to < 0 || from === to) return;
		faults.splice(to, 0, ...faults.splice(from, 1));
		const path = `${proxyPath(this.proxy)}?revision=${store.revision}`;
		await edit("PATCH", path, { faults }, `Fault ${shown(name)} is number ${to + 1} now.`);
	}

	/**
	 * A form for the options of a fault, in place.
	 * @param {string} name
	 * @param {HTMLElement} details
	 */
	async editOptions(name, details) {
		const fault = named(this.configured?.faults, name);
		if (!fault) return;
		const behavior =
			this.schemas?.get(fault.behavior) ?? (await attempt(() => call("GET", `/behaviors/${encodeURIComponent(fault.behavior)}`)));
		if (!behavior) return;
		this.schemas?.set(fault.behavior, behavior);
		const fields = Object.entries(behavior.options.properties).map(([option, schema]) => field(option, schema, fault.options[option]));
		const form = formOf(fields, "Save the options", async () => {
			showError(fields, undefined, "");
			const options = Object.fromEntries(
				fields
					.map((one) => [one.name, typedValue(one)])
					.map(([option, value]) => [option, isDefault(behavior.options.properties[option], value) ? null : value]),
			);
			try {
				await call("PATCH", faultPath(this.proxy, name), { options });
				say(`Fault ${shown(name)} is changed.`);
			} catch (error) {
				showProblem(fields, error);
			}
			await store.refresh();
		});
		details.querySelector("form")?.remove();
		details.append(form);
	}

	// The proxy, and its connections.

	async delete() {
		const name = this.proxy;
		const before = named((await attempt(() => call("GET", "/config")))?.proxies, name);
		if ((await edit("DELETE", proxyPath(name))) === undefined) return;
		location.hash = "#/";
		offerUndo(`Proxy ${shown(name)} is deleted.`, async () => {
			await call("POST", "/proxies", before);
			await store.refresh();
		});
	}

	/** Follow the exchanges: the program makes a note of each only for those who do. */
	async readExchanges() {
		let [count, skipped] = [0, 0];
		/** @type {any[]} */
		let list = [];
		setText(this.noExchange, "None yet. A protocol that marks them, such as http or redis, has each listed here as it ends.");
		setAttribute(this.exchanges, "hidden", true);
		for await (const { data } of messages(`${proxyPath(this.proxy)}/exchanges`, this.left.signal)) {
			for (const one of data.exchanges) list.push({ ...one, key: count++ });
			list = list.slice(-KEPT);
			skipped += data.skipped;
			setText(this.noExchange, skipped ? `${counted(skipped, "exchange")} left out as there were too many at once` : "");
			setAttribute(this.exchanges, "hidden", false);
			this.exchanges.show([...list].reverse());
		}
	}

	/** Read the connections; the time until they are to be read again, which is longer where that takes the program long. */
	async readConnections() {
		if (store.link !== "connected" || !this.configured) return undefined;
		const began = performance.now();
		const { connections } = await call("GET", `${proxyPath(this.proxy)}/connections`);
		setText(this.noConnection, connections.length ? counted(connections.length, "connection") : "No connection is open.");
		setAttribute(this.connections, "hidden", !connections.length);
		this.connections.show(connections);
		return Math.min(Math.max(1000, (performance.now() - began) * SLOWEST), 15_000);
	}
}

customElements.define("proxy-screen", ProxyScreen);

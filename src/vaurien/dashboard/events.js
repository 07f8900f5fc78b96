// The screen of events: as they happen, filtered, paused, exported.

import { call, proxyPath, addressOf, eventsOf } from "./api.js";
import { bar, button, choices, h, setAttribute, setText } from "./dom.js";
import { enders } from "./edit.js";
import { bytes, clock, counted, duration, rounded, shown } from "./format.js";
import { say } from "./messages.js";
import { Screen } from "./screen.js";
import { store } from "./store.js";
import { column } from "./virtual-rows.js";

/** @typedef {import("./store.js").LoggedEvent} LoggedEvent */

const KINDS = ["Listening", "Accepted", "Chosen", "Injected", "Lost", "Encrypted", "Failed", "Closed", "WorkerDied", "PolicyChanged"];
const FILTERS = ["proxy", "connection", "fault", "time", "kind"];
const KNOWN = new Set(["type", "number", "kind", "proxy", "at", "connection", "fault"]);

/** What an event says besides its proxy and its time. @param {LoggedEvent} event */
function told(event) {
	if (event.kind === "Closed") {
		const hits = Object.entries(event.hits).map(([name, count]) => `${name} ${count}`);
		return [
			event.end,
			`${bytes(event.sent)} to the backend`,
			`${bytes(event.received)} to the client`,
			duration(event.duration),
			hits.length ? `hits ${hits.join(", ")}` : "",
		]
			.filter(Boolean)
			.join(", ");
	}
	if (event.kind === "PolicyChanged") return `faults: ${event.faults.join(", ") || "none"}${event.mix ? `, mix ${event.mix}` : ""}`;
	return Object.entries(event)
		.filter(([name, value]) => !KNOWN.has(name) && value !== null && value !== undefined)
		.map(
			([name, value]) =>
				`${name} ${typeof value === "object" ? JSON.stringify(value) : typeof value === "number" ? rounded(value) : value}`,
		)
		.join(", ");
}

class EventsScreen extends Screen {
	/** The inputs, by what each is about. @type {any} */
	filters;

	begin() {
		/** @type {LoggedEvent[] | null} */
		this.held = null;
		this.build();
		this.takeFilters();
		this.follow(["events"], () => {
			this.update();
			if (String(store.events.at(-1)?.connection) === this.filters.connection.value) this.showConnection();
		});
		this.follow(["proxies"], () => this.showConnection());
		this.update();
		this.showConnection();
	}

	build() {
		const text = (/** @type {string} */ name) => h("input", { id: `event-${name}`, autocomplete: "off", oninput: () => this.filter() });
		this.filters = {
			...Object.fromEntries(FILTERS.map((name) => [name, text(name)])),
			kind: h("select", { id: "event-kind", onchange: () => this.filter() }, h("option", { value: "" }, "all"), ...choices(KINDS)),
		};
		this.pause = button("Pause", () => this.togglePause(), { "aria-pressed": "false" });
		this.count = h("p.count", { role: "status" });
		this.about = h("div.about");
		this.rows = /** @type {any} */ (h("virtual-rows")).begin(
			"Events",
			[
				column("Time", (one) => clock(one.at), "number"),
				column("Kind", (one) => one.kind),
				column("Proxy", (one) => h("a", { href: addressOf("proxy", one.proxy) }, h("bdi", shown(one.proxy)))),
				column(
					"Connection",
					(one) =>
						one.connection ? h("a", { href: eventsOf({ proxy: one.proxy, connection: one.connection }) }, String(one.connection)) : "",
					"number",
				),
				column("Fault", (one) => shown(one.fault ?? one.behavior ?? "")),
				column("What", (one) => shown(told(one))),
			],
			(/** @type {any} */ one) => one.number,
		);
		this.append(
			h("h1", "Events"),
			bar(
				...FILTERS.flatMap((name) => [h("label", { for: `event-${name}` }, name[0].toUpperCase() + name.slice(1)), this.filters[name]]),
				this.pause,
				button("Export as JSON lines", () => this.export()),
			),
			this.count,
			this.about,
			this.rows,
		);
	}

	/** Take the filters from the address, where a link put them. */
	takeFilters() {
		const given = new URLSearchParams(location.hash.split("?")[1] ?? "");
		for (const name of FILTERS) this.filters[name].value = given.get(name) ?? "";
	}

	filter() {
		const given = this.given().filter(([, value]) => value);
		history.replaceState(null, "", eventsOf(Object.fromEntries(given)));
		this.update();
		this.showConnection();
	}

	/** The filters and what was typed into each. */
	given() {
		return FILTERS.map((name) => [name, this.filters[name].value.trim()]);
	}

	matching() {
		const { proxy, connection, fault, time, kind } = Object.fromEntries(this.given());
		const hit = (/** @type {LoggedEvent} */ event) =>
			event.fault === fault || event.behavior === fault || Object.hasOwn(event.hits ?? {}, fault) || event.faults?.includes(fault);
		return (this.held ?? store.events).filter(
			(event) =>
				(!proxy || event.proxy === proxy) &&
				(!connection || String(event.connection ?? "") === connection) &&
				(!time || clock(event.at).startsWith(time)) &&
				(!kind || event.kind === kind) &&
				(!fault || hit(event)),
		);
	}

	update() {
		const found = this.matching();
		const skipped = store.skipped ? `, ${counted(store.skipped, "event")} left out as there were too many at once` : "";
		setText(this.count, `${counted(found.length, "event")}${this.held ? ", paused" : ""}${skipped}`);
		this.rows.show(found.reverse());
	}

	togglePause() {
		this.held = this.held ? null : [...store.events];
		setAttribute(this.pause, "aria-pressed", Boolean(this.held));
		setText(this.pause, this.held ? "Go on" : "Pause");
		this.update();
	}

	export() {
		const lines = this.matching().map(({ kind, number, ...event }) => `${JSON.stringify({ id: number, ...event })}\n`);
		download("events.jsonl", lines.join(""), "application/jsonl");
		say(`${counted(lines.length, "event")} exported.`);
	}

	/** The connection that is filtered for, if it is open. */
	async showConnection() {
		const { proxy, connection } = this.filters;
		if (!/^\d+$/.test(connection.value) || !store.proxies.has(proxy.value)) {
			this.about?.replaceChildren();
			return;
		}
		const path = `${proxyPath(proxy.value)}/connections/${connection.value}`;
		let text = `Connection ${connection.value} of ${shown(proxy.value)} is over.`;
		/** @type {any} */
		let buttons = "";
		try {
			const one = await call("GET", path);
			text = `Connection ${one.number} of ${shown(proxy.value)} is open: ${shown(one.peer)}, ${duration(one.age)} old, ${bytes(one.sent)} to the backend, ${bytes(one.received)} to the client, hit by ${one.faults.map(shown).join(", ") || "nothing"}.`;
			buttons = enders(proxy.value, one.number, () => this.showConnection());
		} catch {
			// It is over.
		}
		this.about?.replaceChildren(h("p", text), bar(buttons));
	}
}

/**
 * Save *text* as a file.
 * @param {string} name
 * @param {string} text
 */
export function download(name, text, type = "text/plain") {
	const address = URL.createObjectURL(new Blob([text], { type }));
	h("a", { href: address, download: name }).click();
	setTimeout(() => URL.revokeObjectURL(address), 1000);
}

customElements.define("events-screen", EventsScreen);

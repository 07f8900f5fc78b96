// All that the screens show: the proxies as configured, their figures over time, and the last events.
//
// It tells by events of its own: `proxies`, `tick`, `events`, `link`.

import { call } from "./api.js";
import { follow } from "./live.js";

const STEPS = 900;
const EVENTS = 5000;
const BACKFILL = 60; // seconds of all proxies when the page begins

/** @typedef {{at: number, uptime: number, seconds: number, sent: number, received: number, accepted: number, open: number, waiting: number, exchanges: number, failed_dials: number, hits: Record<string, number>, delay_p50: number, delay_p99: number}} Step */
/** @typedef {{number: number, kind: string, proxy: string, at: number, [field: string]: any}} LoggedEvent */

/** A step in which nothing was counted: of what is not in it there was none. @type {any} */
const NOTHING = { open: 0, hits: {} };

class Store extends EventTarget {
	/** @type {Map<string, any>} */
	proxies = new Map();
	/** When the proxies were last read, by the clock that never jumps. */
	readAt = 0;
	loaded = false;
	link = "connecting";
	revision = -1;
	run = "";
	/** @type {Map<string, Step[]>} */
	steps = new Map();
	/** @type {{proxy: string, at: number, uptime: number, faults: string[], mix: string}[]} Changes of faults, for marks on charts. */
	changes = [];
	/** @type {LoggedEvent[]} */
	events = [];
	skipped = 0;
	/** @type {Promise<void> | null} */
	reading = null;
	readAgain = false;
	telling = false;

	/** @param {string} kind */
	tell(kind) {
		this.dispatchEvent(new Event(kind));
	}

	start() {
		follow(
			(message) => this.take(message),
			(state) => this.setLink(state),
		);
	}

	/** @param {string} state */
	setLink(state) {
		if (this.link !== state) {
			this.link = state;
			this.tell("link");
		}
	}

	/** @param {import("./live.js").Message} message */
	take({ kind, id, data }) {
		if (kind === "Hello") this.begin(data.run);
		else if (kind === "Figures") this.takeTick(data);
		else if (kind === "Skipped") this.skipped += data.count;
		else this.takeEvent(id, kind, data);
	}

	/** @param {string} run */
	begin(run) {
		if (this.run !== run) {
			this.run = run;
			this.events = [];
			this.skipped = 0;
			this.steps.clear();
			this.changes = [];
		}
		this.refresh();
		this.backfill(`?last=${BACKFILL}`);
	}

	/**
	 * Read steps that are not known yet: those of before the page began, or of while the stream was broken. Where they do
	 * not come the stream fills the charts.
	 * @param {string} query
	 */
	async backfill(query) {
		const { steps } = await call("GET", `/figures${query}`).catch(() => ({ steps: [] }));
		const [only] = /proxy=/.test(query) ? [new URLSearchParams(query).get("proxy")] : [null];
		for (const tick of steps) this.addTick(tick, only);
		this.tell("tick");
	}

	/** @param {any} tick */
	takeTick(tick) {
		this.addTick(tick, null);
		for (const [name, step] of Object.entries(tick.proxies)) {
			const states = this.proxies.get(name)?.fault_states ?? {};
			for (const [fault, hits] of Object.entries(step.hits ?? {})) if (states[fault]) states[fault].hits += hits;
		}
		if (tick.revision !== this.revision) this.refresh();
		this.tell("tick");
	}

	/**
	 * @param {any} tick
	 * @param {string | null} only the one proxy that it is about, if not all
	 */
	addTick(tick, only) {
		const names = only === null ? new Set([...this.proxies.keys(), ...Object.keys(tick.proxies), ...this.steps.keys()]) : [only];
		for (const name of names) {
			const step = { ...NOTHING, ...tick.proxies[name], at: tick.at, uptime: tick.uptime, seconds: tick.seconds };
			insert(this.steps, name, step);
		}
		for (const change of tick.changes) {
			const known = this.changes.some((one) => one.at === change.at && one.proxy === change.proxy);
			if (!known) this.changes.push({ ...change, uptime: tick.uptime });
		}
		this.changes.sort((one, other) => one.uptime - other.uptime);
	}

	/**
	 * @param {number} number
	 * @param {string} kind
	 * @param {any} data
	 */
	takeEvent(number, kind, data) {
		this.events.push({ ...data, number, kind });
		if (this.events.length > EVENTS) this.events.splice(0, this.events.length - EVENTS);
		if (!this.telling) {
			this.telling = true;
			requestAnimationFrame(() => {
				this.telling = false;
				this.tell("events");
			});
		}
		if (kind === "Listening" || kind === "PolicyChanged") this.refresh();
	}

	/** Read the proxies again; while that is under way, once more after it. */
	refresh() {
		this.readAgain = true;
		this.reading ??= this.read();
		return this.reading;
	}

	async read() {
		try {
			while (this.readAgain) {
				this.readAgain = false;
				const { proxies, revision } = await call("GET", "/proxies");
				this.proxies = new Map(proxies.map((/** @type {any} */ one) => [one.name, one]));
				this.revision = revision;
				this.readAt = performance.now();
				this.loaded = true;
				for (const name of this.steps.keys()) if (!this.proxies.has(name)) this.steps.delete(name);
				this.tell("proxies");
			}
		} catch {
			// The stream breaks too, and reads again when it is back.
		} finally {
			this.reading = null;
		}
	}

	/** The last step of a proxy. @param {string} name @returns {Step} */
	latest(name) {
		return this.steps.get(name)?.at(-1) ?? { ...NOTHING, at: 0, uptime: 0, seconds: 1 };
	}
}

/**
 * @param {Map<string, Step[]>} all
 * @param {string} name
 * @param {Step} step
 */
function insert(all, name, step) {
	const steps = all.get(name) ?? [];
	all.set(name, steps);
	const after = steps.findLastIndex((one) => one.uptime <= step.uptime);
	if (after >= 0 && steps[after].uptime === step.uptime) return;
	steps.splice(after + 1, 0, step);
	if (steps.length > STEPS) steps.splice(0, steps.length - STEPS);
}

export const store = new Store();

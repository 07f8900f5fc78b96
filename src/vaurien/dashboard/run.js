// The screen of the schedule: its timeline, where it is now, what became of its steps.

import { call } from "./api.js";
import { bar, button, h, setAttribute, setText, svg, sync, table } from "./dom.js";
import { duration, shown } from "./format.js";
import { attempt, readOnly, say } from "./messages.js";
import { Screen } from "./screen.js";

const WIDTH = 600;

class RunScreen extends Screen {
	begin() {
		this.build();
		this.repeat(async () => this.update(await call("GET", "/schedule")));
	}

	build() {
		const act = (/** @type {string} */ what, /** @type {string} */ text) => async () => {
			if ((await attempt(() => call("POST", `/schedule/${what}`))) !== undefined) say(text);
			this.update(await call("GET", "/schedule"));
		};
		this.state = h("p", { role: "status" });
		this.none = h(
			"p.hint",
			"This program plays no schedule. Start one with [[step]] tables: ",
			h("code", "vaurien --http --config scenario.toml"),
			", or ",
			h("code", "vaurien run scenario.toml --http --report out.html -- pytest"),
		);
		this.start = button("Start from the beginning", act("start", "The schedule begins anew."));
		this.stop = button("Stop", act("stop", "The schedule is stopped."));
		this.now = svg("path", { class: "now" });
		this.marks = svg("g", { class: "marks" });
		this.line = svg(
			"svg",
			{
				class: "timeline",
				viewBox: `0 0 ${WIDTH} 30`,
				preserveAspectRatio: "none",
				role: "img",
				"aria-label": "Timeline",
			},
			svg("path", { class: "axis", d: `M0 29H${WIDTH}` }),
			this.marks,
			this.now,
		);
		this.steps = h("tbody");
		this.failed = h("ul.error");
		this.whole = h(
			"div",
			this.state,
			!readOnly() && bar(this.start, this.stop),
			this.line,
			table("Steps", ["At", "What", "State", "From"], this.steps),
			this.failed,
		);
		this.append(h("h1", "Run"), this.none, this.whole);
		setAttribute(this.none, "hidden", true);
		setAttribute(this.whole, "hidden", true);
	}

	/** @param {any} schedule */
	update(schedule) {
		const { steps, length, repeat, playing, elapsed, played, failed } = schedule;
		setAttribute(this.none, "hidden", steps.length > 0);
		setAttribute(this.whole, "hidden", !steps.length);
		if (!steps.length) return;
		const round = Math.floor(played / steps.length);
		const done = repeat > 0 && played >= steps.length * repeat;
		const inRound = length ? Math.min(elapsed - (done ? repeat - 1 : round) * length, length) : 0;
		const place = played - round * steps.length;
		const rounds = repeat === 1 ? "" : `, round ${Math.min(round + 1, repeat || Number.POSITIVE_INFINITY)} of ${repeat || "any number"}`;
		const state = done ? "All steps are played" : playing ? `Playing for ${duration(Math.max(0, Math.floor(elapsed)))}` : "Stopped";
		setText(this.state, `${state}${rounds}.`);
		setAttribute(this.stop, "disabled", !playing);
		const x = (/** @type {number} */ at) => (at / (length || 1)) * (WIDTH - 4) + 2;
		setAttribute(this.now, "d", `M${x(Math.max(0, inRound)).toFixed(1)} 0V30`);
		const numbered = steps.map((/** @type {any} */ step, /** @type {number} */ number) => ({ ...step, number }));
		sync(this.marks, numbered, (step) => svg("path", { d: `M${x(step.at).toFixed(1)} 8V30` }, svg("title", shown(step.effect))));
		const stateOf = (/** @type {number} */ number) =>
			done || number < place ? "played" : number === place && playing ? "next" : "to come";
		sync(
			this.steps,
			numbered,
			(step) => h("tr", h("td.number", duration(step.at)), h("td", shown(step.effect)), h("td"), h("td", shown(step.source))),
			(row, step) => setText(row.children[2], stateOf(step.number)),
		);
		sync(this.failed, failed, (one) => h("li", shown(one)));
	}
}

customElements.define("run-screen", RunScreen);

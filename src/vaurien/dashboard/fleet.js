// The screen of the fleet: its nodes, what each runs, what differs from what is wanted, and why.

import { ApiError, call } from "./api.js";
import { bar, button, h, setAttribute, setText, sync, table } from "./dom.js";
import { counted, shown } from "./format.js";
import { attempt, readOnly } from "./messages.js";
import { Screen } from "./screen.js";

class FleetScreen extends Screen {
	begin() {
		const act =
			(/** @type {string} */ what, /** @type {any} */ body = undefined) =>
			async () => {
				await attempt(() => call("POST", `/fleet/${what}`, body));
				await this.look();
			};
		this.state = h("p", { role: "status" });
		this.stop = button("Stop everything", act("stop", { reason: "stopped in the dashboard" }));
		this.resume = button("Let faults act again", act("resume"));
		this.rows = h("tbody");
		this.whole = h(
			"div",
			{ hidden: true },
			!readOnly() && bar(this.stop, this.resume),
			table("Nodes", ["Node", "Labels", "Faults and their hits", "Differs", "Clock"], this.rows),
		);
		this.append(h("h1", "Fleet"), this.state, this.whole);
		this.repeat(() => this.look());
	}

	async look() {
		try {
			this.update(await call("GET", "/fleet"));
		} catch (error) {
			if (error instanceof ApiError) setText(this.state, shown(error.message));
		}
	}

	/** @param {any} fleet */
	update(fleet) {
		const { nodes, trouble, stopped, node, leader } = fleet;
		setAttribute(this.whole, "hidden", false);
		setAttribute(this.stop, "disabled", stopped);
		setAttribute(this.resume, "disabled", !stopped);
		const about = `${counted(nodes.length, "node")}; this is ${shown(node)}, ${shown(leader ?? "none")} leads`;
		setText(this.state, [about, stopped ? "everything is stopped" : "", shown(trouble ?? "")].filter(Boolean).join("; "));
		sync(
			this.rows,
			nodes,
			(one) => h("tr", h("th", { scope: "row" }, h("bdi", shown(one.name))), ...Array.from({ length: 4 }, () => h("td"))),
			(row, one) => {
				const pairs = (/** @type {any} */ all, by = "=") => Object.entries(all).map(([name, value]) => `${name}${by}${value}`);
				const faults = one.faults.map((/** @type {any} */ fault) => `${fault.proxy}/${fault.fault} ${fault.hits}`);
				const told = [pairs(one.labels), faults, pairs(one.problems, ": "), [`${Math.round(1000 * one.offset)} ms`]];
				for (const [place, texts] of told.entries()) setText(row.children[place + 1], shown(texts.join(", ")));
			},
		);
	}
}

customElements.define("fleet-screen", FleetScreen);

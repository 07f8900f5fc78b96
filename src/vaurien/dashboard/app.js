// Begins the page: takes the token, follows the stream, and shows the screen that the address names.

import { session, takeTokenFromAddress } from "./api.js";
import { h, setAttribute, setText } from "./dom.js";
import { tokenDialog } from "./messages.js";
import "./overview.js";
import "./configuration.js";
import "./events.js";
import "./fault-form.js";
import "./fleet.js";
import "./proxy.js";
import "./run.js";
import { store } from "./store.js";

/** @type {[RegExp, string, string, string][]} The address, the element that shows it, its name, and its place in the navigation. */
const SCREENS = [
	[/^#?\/?$/, "overview-screen", "Overview", "#/"],
	[/^#\/events(?:\?.*)?$/, "events-screen", "Events", "#/events"],
	[/^#\/run$/, "run-screen", "Run", "#/run"],
	[/^#\/fleet$/, "fleet-screen", "Fleet", "#/fleet"],
	[/^#\/configuration$/, "configuration-screen", "Configuration", "#/configuration"],
	[/^#\/proxy\/([^/]+)$/, "proxy-screen", "Proxy", ""],
	[/^#\/proxy\/([^/]+)\/add$/, "fault-screen", "Add a fault", ""],
	[/^#\/proxy\/([^/]+)\/fault\/([^/]+)$/, "fault-screen", "Change a fault", ""],
];

const nav = /** @type {HTMLElement} */ (document.querySelector("nav"));
const main = /** @type {HTMLElement} */ (document.querySelector("main"));

function show() {
	const found = SCREENS.find(([pattern]) => pattern.test(location.hash)) ?? SCREENS[0];
	const [pattern, element, title, place] = found;
	const names = (pattern.exec(location.hash) ?? []).slice(1).map((name) => decodeURIComponent(name));
	const screen = Object.assign(document.createElement(element), { names });
	main.replaceChildren(screen);
	document.title = `${[...names, title].join(", ")} - Vaurien`;
	for (const link of nav.querySelectorAll("a")) setAttribute(link, "aria-current", link.hash === place ? "page" : null);
}

function buildNavigation() {
	const links = SCREENS.filter(([, , , place]) => place).map(([, , title, place]) => h("li", h("a", { href: place }, title)));
	nav.append(h("ul", ...links));
}

function showLink() {
	const status = /** @type {HTMLElement} */ (document.querySelector(".link"));
	const texts = { connecting: "Connecting…", connected: "Live", lost: "Not connected, trying again…" };
	setText(status, /** @type {any} */ (texts)[store.link]);
	setAttribute(status, "data-state", store.link);
}

/** @type {Promise<void> | null} */
let asking = null;
session.askForToken = () => {
	asking ??= tokenDialog().then((token) => {
		session.token = token;
		asking = null;
	});
	return asking;
};

takeTokenFromAddress();
buildNavigation();
window.addEventListener("hashchange", () => {
	takeTokenFromAddress();
	show();
	main.focus({ preventScroll: true });
});
store.addEventListener("link", showLink);
showLink();
show();
store.start();

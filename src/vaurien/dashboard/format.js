// Numbers, times and texts as people read them.

const UNITS = ["B", "kB", "MB", "GB", "TB"];
const LONGEST = 2000;

/** @param {number} value bytes */
export function bytes(value) {
	let unit = 0;
	while (value >= 1000 && unit < UNITS.length - 1) {
		value /= 1000;
		unit += 1;
	}
	return `${rounded(value)} ${UNITS[unit]}`;
}

/** @param {number} value a number with three significant digits */
export function rounded(value) {
	if (value === 0) return "0";
	if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en");
	return String(Number(value.toPrecision(value < 10 ? 2 : 3)));
}

/** @param {number} seconds */
export function duration(seconds) {
	if (seconds < 0.001) return `${rounded(seconds * 1e6)} µs`;
	if (seconds < 1) return `${rounded(seconds * 1000)} ms`;
	if (seconds < 60) return `${rounded(seconds)} s`;
	const whole = Math.round(seconds);
	const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
	return parts[0] ? `${parts[0]} h ${parts[1]} min` : `${parts[1]} min ${parts[2]} s`;
}

/** @param {number} at seconds since the epoch */
export function clock(at) {
	const date = new Date(at * 1000);
	const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
	return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** @param {number} ratio 0 to 1 */
export function percent(ratio) {
	return `${rounded(ratio * 100)} %`;
}

/** A mix, as the command line takes it. @param {any[]} mix */
export function mixText(mix) {
	return mix.map((share) => `${share.percent}:${share.behavior}`).join(",");
}

/**
 * @param {number} count
 * @param {string} thing
 */
export function counted(count, thing) {
	return `${count.toLocaleString("en")} ${thing}${count === 1 ? "" : "s"}`;
}

// Control characters, and those that change the direction of what follows them (Unicode's report 36, "Bidirectional
// text spoofing"), are shown by their number: a text of the network must not look like another one.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that are meant
const MISLEADING = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/**
 * *text*, which came from the network, with nothing in it that misleads, and not longer than anyone reads.
 * @param {unknown} text
 */
export function shown(text) {
	const whole = String(text);
	const short = whole.length > LONGEST ? `${whole.slice(0, LONGEST)}… (${counted(whole.length - LONGEST, "character")} more)` : whole;
	return unmistakable(short);
}

/**
 * *text* of a line with nothing in it that misleads: JSON, Python and TOML read the same from it.
 * @param {string} text
 */
export function unmistakable(text) {
	return text.replace(MISLEADING, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

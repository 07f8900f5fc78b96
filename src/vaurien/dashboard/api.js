// Calls of /api/v1. The token is kept for this tab alone, and travels in a header: an address may be logged.

const KEY = "vaurien-token";

export const session = {
	/** Asks a person for the token; the application puts its dialog here. @type {() => Promise<void>} */
	askForToken: async () => {},

	get token() {
		return sessionStorage.getItem(KEY) ?? "";
	},

	set token(token) {
		sessionStorage.setItem(KEY, token);
	},
};

/** Take the token out of the address (`#token=…`), so that it is neither shown nor remembered there. */
export function takeTokenFromAddress() {
	const match = /^#token=(.*)$/.exec(location.hash);
	if (match) {
		session.token = decodeURIComponent(match[1]);
		history.replaceState(null, "", `${location.pathname}#/`);
	}
}

/** An answer that is an error: its status, and the field of the body that is meant (a JSON pointer), if one is. */
export class ApiError extends Error {
	/**
	 * @param {number} status
	 * @param {string} message
	 * @param {string} [pointer]
	 */
	constructor(status, message, pointer) {
		super(message);
		this.status = status;
		this.pointer = pointer;
	}
}

/**
 * The answer to a request, once there is a token that the program takes.
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {AbortSignal} [signal]
 * @returns {Promise<Response>}
 */
export async function ask(method, path, body, signal) {
	for (;;) {
		const used = session.token;
		/** @type {Record<string, string>} */
		const headers = used ? { Authorization: `Bearer ${used}` } : {};
		if (body !== undefined) headers["Content-Type"] = "application/json";
		const init = { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) };
		const response = await fetch(path, init);
		if (response.status !== 401) return response;
		if (used === session.token) await session.askForToken();
	}
}

/**
 * The JSON of an answer. Throws `ApiError`, and TypeError when the program is not reached.
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @returns {Promise<any>}
 */
export async function call(method, path, body) {
	const response = await ask(method, `/api/v1${path}`, body);
	if (response.status === 204) return null;
	const text = await response.text();
	/** @type {any} */
	let value = {};
	try {
		value = JSON.parse(text);
	} catch {
		throw new ApiError(response.status, text || response.statusText);
	}
	if (response.ok) return value;
	throw new ApiError(response.status, value.error?.message ?? text, value.error?.pointer);
}

/** The address of a screen. @param {...string} names */
export function addressOf(...names) {
	return `#/${names.map(encodeURIComponent).join("/")}`;
}

/** The address of the events that *filters* leave. @param {Record<string, string>} filters */
export function eventsOf(filters) {
	return `#/events?${new URLSearchParams(filters)}`;
}

/** The path of a proxy. @param {string} name */
export function proxyPath(name) {
	return `/proxies/${encodeURIComponent(name)}`;
}

/**
 * The path of a fault.
 * @param {string} proxy
 * @param {string} fault
 */
export function faultPath(proxy, fault) {
	return `${proxyPath(proxy)}/faults/${encodeURIComponent(fault)}`;
}

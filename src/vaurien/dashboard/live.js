// Reads the stream of events and figures, and begins again whenever it breaks.
//
// The browser's own EventSource cannot send a token in a header, so the stream is read by hand
// (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream, as much as is sent here).

import { ask } from "./api.js";

const SILENCE = 8000; // ms: figures come each second, so the stream is broken after so many without a byte
const PAUSES = [250, 1000, 2000, 4000]; // ms between attempts

/** @typedef {{kind: string, id: number, data: any}} Message */

/**
 * Follow the stream for as long as the page lives.
 * @param {(message: Message) => void} onMessage
 * @param {(state: "connected" | "lost") => void} onState
 */
export async function follow(onMessage, onState) {
	let last = 0;
	let run = "";
	for (let attempt = 0; ; attempt += 1) {
		const reading = new AbortController();
		let silence = setTimeout(() => reading.abort(), SILENCE);
		try {
			for await (const message of messages(`/live?since=${last}`, reading.signal)) {
				clearTimeout(silence);
				silence = setTimeout(() => reading.abort(), SILENCE);
				if (message.kind === "Hello") {
					const again = run !== "" && run !== message.data.run;
					run = message.data.run;
					if (again && last) {
						last = 0; // another program, whose events are numbered anew
						break;
					}
					attempt = 0;
					onState("connected");
				}
				if (message.id) last = message.id;
				onMessage(message);
			}
		} catch {
			// It is not reached, has gone, or was silent: all the same to the reader.
		} finally {
			clearTimeout(silence);
			reading.abort();
		}
		onState("lost");
		await new Promise((resolve) => setTimeout(resolve, PAUSES[Math.min(attempt, PAUSES.length - 1)]));
	}
}

/**
 * The messages of the stream *path*, until it ends or *signal* does.
 * @param {string} path
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<Message>}
 */
export async function* messages(path, signal) {
	const { ok, status, body } = await ask("GET", `/api/v1${path}`, undefined, signal);
	if (!ok || !body) throw new Error(`status ${status}`);
	const decoder = /** @type {ReadableWritablePair<string, any>} */ (new TextDecoderStream());
	const reader = body.pipeThrough(decoder).getReader();
	let rest = "";
	for (;;) {
		const { done, value } = await reader.read();
		if (done) return;
		const parts = (rest + value).split("\n\n");
		rest = parts.pop() ?? "";
		for (const part of parts) {
			const message = parsed(part);
			if (message) yield message;
		}
	}
}

/** @param {string} text one message @returns {Message | null} */
function parsed(text) {
	/** @type {Record<string, string>} */
	const fields = {};
	for (const line of text.split("\n")) {
		const at = line.indexOf(": ");
		if (at > 0) fields[line.slice(0, at)] = line.slice(at + 2);
	}
	return fields.data ? { kind: fields.event, id: Number(fields.id ?? 0), data: JSON.parse(fields.data) } : null;
}

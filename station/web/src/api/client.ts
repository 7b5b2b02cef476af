/** Commands to the station: safe to repeat, and repeated until the station answers where that is safe. */

import type { ProblemBody } from "./types";

export interface Problem { code: string; status: number }

export const screenId = crypto.randomUUID();
const COMMAND_TIMEOUT_MS = 2000;
const READ_TIMEOUT_MS = 5000;

/** Sends once; resolves to null when the station recorded it, to the problem when it refused.
 *  Throws when there was no answer in time, or none that says whether it was recorded. */
export async function send(method: "POST" | "PUT", path: string, body: object, key?: string): Promise<Problem | null> {
  const headers: Record<string, string> = { "Content-Type": "application/json", "X-Carril": "1" };
  if (key) headers["Idempotency-Key"] = key;
  const signal = AbortSignal.timeout(COMMAND_TIMEOUT_MS);
  const reply = await fetch(path, { method, headers, body: JSON.stringify(body), signal });
  if (reply.ok) return null;
  if (reply.status >= 500) throw new Error(String(reply.status));
  const problem = (await reply.json().catch(() => ({}))) as Partial<ProblemBody>;
  return { code: (problem.type ?? "other").split(":").pop() ?? "other", status: reply.status };
}

/** The station answered, and not with what was asked for. */
export class Refused extends Error {
  constructor(path: string, readonly status: number) {
    super(`${path}: ${status}`);
  }
}

export async function getJson<T>(path: string): Promise<T> {
  return (await (await got(path)).json()) as T;
}

export async function getBytes(path: string): Promise<ArrayBuffer> {
  return (await got(path)).arrayBuffer();
}

async function got(path: string): Promise<Response> {
  const reply = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(READ_TIMEOUT_MS) });
  if (!reply.ok) throw new Refused(path, reply.status);
  return reply;
}

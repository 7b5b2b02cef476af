/** Commands to the station: safe to repeat, and repeated until the station answers where that is safe. */

export interface Problem { code: string; status: number }

export const screenId = crypto.randomUUID();
const TIMEOUT_MS = 2000;

/** Sends once; resolves to null when the station recorded it, to the problem when it refused.
 *  Throws when there was no answer in time, or none that says whether it was recorded. */
export async function send(method: "POST" | "PUT", path: string, body: unknown, key?: string): Promise<Problem | null> {
  const headers: Record<string, string> = { "Content-Type": "application/json", "X-Carril": "1" };
  if (key) headers["Idempotency-Key"] = key;
  const reply = await fetch(path, { method, headers, body: JSON.stringify(body), signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (reply.ok) return null;
  const problem = (await reply.json().catch(() => ({}))) as { type?: string };
  if (reply.status >= 500) throw new Error(String(reply.status));
  return { code: (problem.type ?? "urn:carril:problem:other").split(":").pop() ?? "other", status: reply.status };
}

export async function getJson<T>(path: string): Promise<T> {
  const reply = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(5000) });
  if (!reply.ok) throw new Error(`${path}: ${reply.status}`);
  return (await reply.json()) as T;
}

export async function getColumns(scan: string, from: number, to: number, level: number): Promise<Uint16Array> {
  const reply = await fetch(`/v1/scans/${scan}/columns?from=${from}&to=${to}&level=${level}`, { signal: AbortSignal.timeout(5000) });
  if (!reply.ok) throw new Error(`columns: ${reply.status}`);
  return new Uint16Array(await reply.arrayBuffer());
}

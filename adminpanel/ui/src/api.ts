// The panel's API, as a browser speaks it: problems become errors with words for people.

export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly errors: { location?: string; message?: string }[] = [],
  ) {
    super(message);
  }
}

const base = '/api/v1/';

export interface Options {
  rev?: number; // If-Match
  signal?: AbortSignal;
  method?: string;
  headers?: Record<string, string>;
}

async function send(path: string, method: string, body: BodyInit | undefined, o: Options): Promise<Response> {
  const headers: Record<string, string> = { Accept: 'application/json', ...o.headers };
  if (method === 'POST') headers['Idempotency-Key'] = crypto.randomUUID();
  if (o.rev !== undefined) headers['If-Match'] = `"${o.rev}"`;
  let resp: Response;
  try {
    resp = await fetch(base + path, { method, headers, body, signal: o.signal, credentials: 'same-origin' });
  } catch (err) {
    if (o.signal?.aborted) throw err;
    throw new Problem(0, 'unreachable', 'The panel cannot be reached. Nothing was changed; try again.');
  }
  if (!resp.ok) throw await problem(resp);
  return resp;
}

export async function problem(resp: Response): Promise<Problem> {
  try {
    const p = await resp.json();
    return new Problem(resp.status, p.code ?? '', p.detail ?? p.title ?? `The panel answered ${resp.status}.`, p.errors);
  } catch {
    return new Problem(resp.status, '', `The panel answered ${resp.status}.`);
  }
}

export async function get<T>(path: string, o: Options = {}): Promise<T> {
  return (await send(path, 'GET', undefined, o)).json();
}

export async function call<T>(method: string, path: string, body?: unknown, o: Options = {}): Promise<T> {
  const headers = { ...o.headers, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) };
  const resp = await send(path, method, body === undefined ? undefined : JSON.stringify(body), { ...o, headers });
  return resp.status === 204 || resp.headers.get('Content-Length') === '0' ? (undefined as T) : resp.json();
}

export const post = <T>(path: string, body?: unknown, o?: Options) => call<T>('POST', path, body ?? {}, o);

export function raw(path: string, method: string, body: BodyInit | undefined, o: Options = {}): Promise<Response> {
  return send(path, method, body, o);
}

// words of an error, whatever it is.
export function why(err: unknown): string {
  return err instanceof Error ? err.message : String(err);
}

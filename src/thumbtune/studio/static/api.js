// Requests to the API: JSON in and out, or a file in, errors as one sentence, and whether the link to the studio stands.

export const person = {
  rater: document.body.dataset.rater ?? "",
  role: document.body.dataset.role ?? "",
  store: document.body.dataset.store ?? "",
};

export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const listeners = new Set();
let linked = true;

// Call `hear(linked)` whenever the link breaks or returns.
export const onLink = (hear) => listeners.add(hear);

const setLink = (now) => {
  if (now === linked) return;
  linked = now;
  for (const hear of listeners) hear(linked);
};

// Return the JSON of an answer. Throws Refused, or TypeError without a link.
export const ask = async (path, { method = "GET", body, signal, keepalive = false } = {}) => {
  let answer;
  try {
    answer = await fetch(`/api/v1/${path}`, {
      method,
      signal,
      keepalive,
      credentials: "same-origin",
      headers: body === undefined ? {} : { "Content-Type": body instanceof Blob ? "application/octet-stream" : "application/json" },
      body: body === undefined || body instanceof Blob ? body : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name !== "AbortError") setLink(false);
    throw error;
  }
  setLink(true);
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  if (answer.status === 401 && location.pathname !== "/welcome") location.assign("/welcome"); // votes that wait stay here
  const told = await answer.json().catch(() => null);
  throw new Refused(answer.status, told?.error?.code ?? "studio-failed", told?.error?.message ?? `The studio answered ${answer.status}.`);
};

export const get = (path, options) => ask(path, options);
export const post = (path, body = {}, options = {}) => ask(path, { ...options, method: "POST", body });

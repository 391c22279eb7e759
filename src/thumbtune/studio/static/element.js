// Small helpers of pages: make elements, copy texts, words for times.

// Return an element: `make("p", { class: "quiet", on: { click } }, "text", child)`.
export const make = (tag, options = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "on") for (const [event, hear] of Object.entries(value)) element.addEventListener(event, hear);
    else if (name in element && typeof value !== "string") element[name] = value;
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};

// Return a sentence as nodes: what stands between backticks is code.
export const spoken = (sentence) => String(sentence).split(/`([^`]+)`/).flatMap((part, place) => (place % 2 ? [make("code", {}, part)] : part ? [part] : []));

// Show a sentence in an element.
export const say = (element, sentence) => element.replaceChildren(...spoken(sentence));

// Copy a text, and say so on the button; without the clipboard (plain http elsewhere) the text is selected instead.
export const copy = async (text, button) => {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    const area = make("textarea", { readOnly: true }, text);
    document.body.append(area);
    area.select();
    button.textContent = document.execCommand("copy") ? "Copied" : "Copy failed";
    area.remove();
  }
  setTimeout(() => { button.textContent = before; }, 1500);
};

export const number = (value) => value.toLocaleString("en-US");

// Return seconds in words: 40 s, 3 min, 2 h 5 min.
export const duration = (seconds) => {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
};

// Return how long ago a time was, in words.
export const ago = (time) => {
  const seconds = Math.max(0, (Date.now() - new Date(time).getTime()) / 1000);
  if (seconds < 45) return "just now";
  return seconds < 86_400 ? `${duration(seconds)} ago` : new Date(time).toLocaleDateString();
};

// The images to judge next, fetched and decoded before they are shown.

import { get } from "./api.js";
import { history, setClock, waiting } from "./votes.js";

const FETCHED = 40; // images of one answer
const DEPTH = 32; // images that are decoded ahead, five at least
const LEAST = 5;
const PIXELS = 48e6; // that the decoded ones may have; 4 bytes each
const AT_ONCE = 6;
const AGAIN_MS = 2000; // after which an unreachable studio is asked again

const ENLARGED = 8; // times at most: the pixels of a small image would hide what it shows

const sized = (element, item) => {
  element.style.maxWidth = `${ENLARGED * item.width}px`;
  element.style.maxHeight = `${ENLARGED * item.height}px`;
  return element;
};

// Return an element that shows an image, and a promise of whether it could be decoded.
export const load = (item) => {
  if (item.video) {
    const video = document.createElement("video");
    Object.assign(video, { src: item.view, muted: true, loop: true, autoplay: true, playsInline: true, preload: "auto" });
    video.setAttribute("aria-label", item.prompt);
    const done = new Promise((resolve) => {
      video.addEventListener("loadeddata", () => resolve(true), { once: true });
      video.addEventListener("error", () => resolve(false), { once: true });
    });
    return { element: sized(video, item), done };
  }
  const image = new Image();
  image.alt = item.prompt;
  image.draggable = false;
  image.src = item.view;
  return { element: sized(image, item), done: image.decode().then(() => true, () => false) };
};

// Return whether the studio answers. It does for an image that is damaged or gone; a proxy in its place says 502 to 504.
const isReachable = (address) =>
  fetch(address, { method: "HEAD", cache: "no-store" }).then(({ status }) => status < 502 || status > 504, () => false);

export class Deck {
  constructor(changed, failed) {
    this.cards = []; // {item, element, ready}
    this.after = null;
    this.order = "random";
    this.ended = false;
    this.begun = 0; // counts the orders, since an answer may come after its order was left
    this.fetching = null;
    this.loading = 0;
    this.waits = false; // until the studio can be reached again
    this.changed = changed;
    this.failed = failed;
    this.judged = new Set([...history().map((entry) => entry.item.id), ...waiting().map((entry) => entry.image)]);
  }

  get first() { return this.cards[0] ?? null; }

  // Fetch more, until there are enough or the studio has no more.
  async fill() {
    if (this.fetching || this.ended || this.cards.length >= FETCHED) return this.fetching;
    this.fetching = this.fetch().finally(() => { this.fetching = null; });
    return this.fetching;
  }

  async fetch() {
    const { after: from, begun } = this;
    const query = new URLSearchParams({ limit: FETCHED, order: this.order });
    if (from) query.set("after", from);
    let answer;
    try {
      answer = await get(`queue?${query}`);
    } catch {
      setTimeout(() => this.fill(), AGAIN_MS);
      return;
    }
    setClock(answer.now);
    if (begun !== this.begun) {
      setTimeout(() => this.fill(), 0);
      return;
    }
    const held = new Set(this.cards.map((card) => card.item.id));
    for (const item of answer.images) {
      if (held.has(item.id) || (this.judged.has(item.id) && !item.vote)) continue;
      held.add(item.id);
      this.cards.push({ item, element: null, ready: false });
    }
    this.after = answer.after;
    // at the end of the order, once more from its beginning: images may have come since
    if (!answer.after && !from) this.ended = true;
    this.prefetch();
    this.changed();
    if (!answer.after && from) setTimeout(() => this.fill(), 0);
    else if (this.cards.length < LEAST && !this.ended) setTimeout(() => this.fill(), 0);
  }

  // Decode the images ahead, the nearest first.
  prefetch() {
    if (this.waits) return;
    let pixels = 0;
    const depth = this.cards.findIndex((card, place) => {
      pixels += card.item.width * card.item.height;
      return place >= DEPTH || (place >= LEAST && pixels > PIXELS);
    });
    const ahead = depth < 0 ? this.cards : this.cards.slice(0, depth);
    for (const card of ahead) {
      if (this.loading >= AT_ONCE) return;
      if (!card.element) this.decode(card);
    }
  }

  async decode(card) {
    this.loading++;
    const { element, done } = load(card.item);
    card.element = element;
    const good = await done;
    const isOffline = !good && !(await isReachable(card.item.view));
    this.loading--;
    if (good) card.ready = true;
    else if (isOffline) {
      card.element = null;
      this.wait();
      return;
    } else {
      this.cards = this.cards.filter((one) => one !== card);
      this.failed(card.item);
    }
    this.prefetch();
    this.changed();
  }

  // Offline: keep the cards, and decode them again later.
  wait() {
    if (this.waits) return;
    this.waits = true;
    setTimeout(() => {
      this.waits = false;
      this.prefetch();
    }, AGAIN_MS);
  }

  // Take cards that were judged away.
  drop(cards) {
    const gone = new Set(cards);
    for (const card of cards) this.judged.add(card.item.id);
    this.cards = this.cards.filter((card) => !gone.has(card));
    this.prefetch();
    this.fill();
  }

  // Leave out what another tab judged, by history entries; what it took back may come again.
  follow(judged, takenBack) {
    for (const { item } of takenBack) this.judged.delete(item.id);
    const images = new Set(judged.map(({ item }) => item.id)), votes = new Set(judged.map(({ id }) => id));
    for (const image of images) this.judged.add(image);
    this.cards = this.cards.filter(({ item }) => (item.vote ? !votes.has(item.vote) : !images.has(item.id)));
    if (takenBack.length) this.ended = false;
    this.prefetch();
    this.fill();
  }

  // Put an image back in front, to be judged again.
  putBack(item) {
    this.judged.delete(item.id);
    this.cards = this.cards.filter((card) => card.item.id !== item.id);
    const card = { item, element: null, ready: false };
    this.cards.unshift(card);
    this.decode(card);
  }

  // Begin again in another order.
  restart(order) {
    Object.assign(this, { order, after: null, ended: false, cards: [], begun: this.begun + 1 });
    this.changed();
    return this.fill();
  }
}

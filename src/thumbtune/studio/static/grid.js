// A grid of thumbnails of any length: only the rows near the window are in the page.
//
// One element has the focus (a list box); the arrows move a place in it, with Shift they select, and Ctrl-A selects all
// that are loaded.

const GAP = 8;
const SPARE = 3; // rows above and below the window
const AHEAD = 10; // rows before the end at which more is asked for
const MARKS = { like: "♥", dislike: "✕", skip: "→" };
const NAMES = { like: "liked", dislike: "disliked", skip: "skipped" };

export class Grid {
  constructor(root, { more, selected, open }) {
    Object.assign(this, { root, more, selected, open, items: [], selection: new Set(), tiles: new Map(), place: 0, anchor: 0 });
    this.measure();
    new ResizeObserver(() => { this.measure(); this.redraw(); }).observe(root);
    window.addEventListener("scroll", () => this.later(), { passive: true });
    root.addEventListener("keydown", (event) => { if (this.press(event)) event.preventDefault(); });
    root.addEventListener("click", (event) => this.click(event));
    root.addEventListener("dblclick", () => this.open(this.items[this.place]));
  }

  measure() {
    const width = this.root.clientWidth || 300;
    const wanted = width < 600 ? 104 : 168;
    this.columns = Math.max(2, Math.floor((width + GAP) / (wanted + GAP)));
    this.side = (width + GAP) / this.columns - GAP;
  }

  clear() {
    this.items = [];
    this.place = this.anchor = 0;
    this.select([]);
    this.redraw();
  }

  add(items) {
    this.items.push(...items);
    this.draw();
  }

  later() {
    if (this.waits) return;
    this.waits = requestAnimationFrame(() => { this.waits = 0; this.draw(); });
  }

  // The tiles that are there are made again: their labels may be others.
  redraw() {
    for (const tile of this.tiles.values()) tile.remove();
    this.tiles.clear();
    this.draw();
  }

  draw() {
    const row = this.side + GAP;
    const rows = Math.ceil(this.items.length / this.columns);
    this.root.style.height = `${Math.max(row, rows * row - GAP)}px`;
    const top = -this.root.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / row) - SPARE) * this.columns;
    const last = Math.min(this.items.length, (Math.ceil((top + innerHeight) / row) + SPARE) * this.columns);
    for (const [place, tile] of this.tiles) {
      if (place >= first && place < last) continue;
      tile.remove();
      this.tiles.delete(place);
    }
    for (let place = first; place < last; place++) {
      if (!this.tiles.has(place)) this.hang(place, row);
    }
    this.drawPlace();
    if (last + AHEAD * this.columns >= this.items.length) this.more();
  }

  hang(place, row) {
    const item = this.items[place];
    const tile = document.createElement("div");
    tile.className = "tile";
    tile.id = `tile-${item.id}`;
    tile.dataset.place = place;
    tile.dataset.kind = item.own ?? "";
    tile.setAttribute("role", "option");
    tile.setAttribute("aria-posinset", place + 1);
    tile.setAttribute("aria-setsize", -1);
    tile.setAttribute("aria-selected", String(this.selection.has(item.id)));
    tile.setAttribute("aria-label", `${item.prompt}, ${NAMES[item.own] ?? "not judged"}`);
    Object.assign(tile.style, {
      width: `${this.side}px`,
      height: `${this.side}px`,
      transform: `translate(${(place % this.columns) * row}px, ${Math.floor(place / this.columns) * row}px)`,
    });
    if (item.video) tile.append(Object.assign(document.createElement("span"), { className: "video", textContent: "▶ clip" }));
    else tile.append(Object.assign(new Image(), { src: item.thumb, alt: "", draggable: false, decoding: "async" }));
    if (item.own) tile.append(Object.assign(document.createElement("span"), { className: "mark", textContent: MARKS[item.own] }));
    if (item.likes && item.dislikes) {
      tile.append(Object.assign(document.createElement("span"), { className: "apart", textContent: `♥${item.likes} ✕${item.dislikes}` }));
    }
    this.tiles.set(place, tile);
    this.root.append(tile);
  }

  drawPlace() {
    for (const [place, tile] of this.tiles) {
      tile.classList.toggle("here", place === this.place);
      tile.setAttribute("aria-selected", String(this.selection.has(this.items[place]?.id)));
    }
    const item = this.items[this.place];
    if (item) this.root.setAttribute("aria-activedescendant", `tile-${item.id}`);
    else this.root.removeAttribute("aria-activedescendant");
  }

  // The images that an action means: the selected ones, or else the one that has the place.
  chosen() {
    if (this.selection.size) return this.items.filter((item) => this.selection.has(item.id));
    const item = this.items[this.place];
    return item && document.activeElement === this.root ? [item] : [];
  }

  select(ids) {
    this.selection = new Set(ids);
    this.drawPlace();
    this.selected();
  }

  selectTo(place) {
    const [from, to] = [Math.min(this.anchor, place), Math.max(this.anchor, place)];
    this.select(this.items.slice(from, to + 1).map((item) => item.id));
  }

  toggle(place) {
    const ids = new Set(this.selection);
    const { id } = this.items[place];
    if (!ids.delete(id)) ids.add(id);
    this.anchor = place;
    this.select(ids);
  }

  go(place, extends_) {
    if (place < 0 || place >= this.items.length) return;
    this.place = place;
    if (extends_) this.selectTo(place);
    else this.anchor = place;
    const row = this.side + GAP;
    const top = this.root.getBoundingClientRect().top + Math.floor(place / this.columns) * row;
    const bar = 120;
    if (top < bar) scrollBy(0, top - bar);
    else if (top + row > innerHeight - 80) scrollBy(0, top + row - innerHeight + 80);
    this.draw();
  }

  press(event) {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns, Home: -this.place, End: this.items.length - 1 - this.place };
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "a") this.select(this.items.map((item) => item.id));
    else if (event.ctrlKey || event.metaKey || event.altKey) return false;
    else if (event.key in steps) this.go(this.place + steps[event.key], event.shiftKey);
    else if (event.key === " ") this.toggle(this.place);
    else if (event.key === "Enter" && this.items[this.place]) this.open(this.items[this.place]);
    else return false;
    return true;
  }

  click(event) {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    const place = Number(tile.dataset.place);
    this.place = place;
    if (event.shiftKey) this.selectTo(place);
    else if (event.ctrlKey || event.metaKey || this.selection.size) this.toggle(place);
    else {
      this.anchor = place;
      this.open(this.items[place]);
    }
    this.drawPlace();
  }
}

// The wall of Judge: a dozen images or more at once; arrows move, L and D judge (or other keys, keys.js), and one button
// dislikes the rest.

const SIZES = [12, 20, 30];
const VERDICTS = { "wall-like": "like", "wall-dislike": "dislike", "wall-skip": "skip" };
const MARKS = { like: "♥", dislike: "✕", skip: "→" };
const NAMES = { like: "liked", dislike: "disliked", skip: "skipped" };

export class Wall {
  constructor(root, deck, { judge, takeBack }) {
    Object.assign(this, { root, deck, judge, takeBack, tiles: [], place: 0, size: SIZES[0] });
    this.grid = root.querySelector("#tiles");
    this.grid.addEventListener("click", (event) => {
      const tile = this.tiles.find((one) => one.button === event.target.closest(".tile"));
      if (tile) this.turn(tile);
    });
    this.grid.addEventListener("focusin", (event) => {
      const place = this.tiles.findIndex((one) => one.button === event.target);
      if (place >= 0) this.place = place;
    });
    root.querySelector("#wall-size").addEventListener("change", (event) => {
      this.size = Number(event.target.value);
      this.next();
    });
    root.querySelector("#wall-undo").addEventListener("click", () => this.undo());
    root.querySelector("#wall-next").addEventListener("click", () => this.next());
    root.querySelector("#wall-rest").addEventListener("click", () => this.askRest());
    this.dialog = root.querySelector("#wall-sure");
    this.dialog.addEventListener("close", () => {
      if (this.dialog.returnValue === "yes") this.rest();
    });
  }

  get isEmpty() { return !this.tiles.length && !this.deck.cards.length; }

  // Hang images that are ready, as long as there is room.
  fill() {
    const hung = new Set(this.tiles.map((tile) => tile.card));
    for (const card of this.deck.cards) {
      if (this.tiles.length >= this.size) break;
      if (card.ready && !hung.has(card)) this.hang(card);
    }
    this.draw();
  }

  hang(card) {
    const button = document.createElement("button");
    button.className = "tile";
    button.tabIndex = -1;
    const mark = document.createElement("span");
    mark.className = "mark";
    button.append(card.element.cloneNode(), mark);
    this.tiles.push({ card, button, mark, kind: null });
    this.grid.append(button);
  }

  draw() {
    this.tiles.forEach((tile, place) => {
      tile.button.tabIndex = place === this.place ? 0 : -1;
      tile.button.dataset.kind = tile.kind ?? "";
      tile.mark.textContent = MARKS[tile.kind] ?? "";
      tile.button.setAttribute("aria-label", `${tile.card.item.prompt}, ${NAMES[tile.kind] ?? "not judged"}`);
    });
    const open = this.tiles.filter((tile) => !tile.kind).length;
    this.root.querySelector("#wall-rest").disabled = !open;
    this.root.querySelector("#wall-open").textContent = open ? `${open} not judged` : "All judged";
  }

  // Show the verdicts of another tab, by history entries, and those that it took back.
  follow(judged, takenBack) {
    for (const tile of this.tiles) {
      const now = judged.find(({ item }) => item.id === tile.card.item.id);
      if (now) tile.kind = now.kind;
      else if (takenBack.some(({ item }) => item.id === tile.card.item.id)) tile.kind = null;
    }
    this.draw();
  }

  set(tile, kind) {
    if (tile.kind) return; // U takes a verdict back
    tile.kind = kind;
    this.judge(tile.card, kind);
    this.draw();
  }

  // A click likes an image; the keys and the button below know more.
  turn(tile) {
    this.place = this.tiles.indexOf(tile);
    this.set(tile, "like");
  }

  // Do what an action of keys.js names, or move by an arrow.
  press(name) {
    if (this.dialog.open) return false;
    const tile = this.tiles[this.place];
    if (VERDICTS[name] && tile) {
      this.set(tile, VERDICTS[name]);
      this.move(1);
    } else if (name === "wall-undo") this.undo();
    else if (name === "ArrowRight") this.move(1);
    else if (name === "ArrowLeft") this.move(-1);
    else if (name === "ArrowDown") this.move(this.columns());
    else if (name === "ArrowUp") this.move(-this.columns());
    else if (name === "wall-next") this.next();
    else if (name === "wall-rest") this.askRest();
    else return false;
    return true;
  }

  columns() {
    const top = this.tiles[0]?.button.offsetTop;
    const second = this.tiles.findIndex((tile) => tile.button.offsetTop !== top);
    return second < 0 ? this.tiles.length : second;
  }

  move(by) {
    const place = this.place + by;
    if (place < 0 || place >= this.tiles.length) return;
    this.place = place;
    this.draw();
    this.tiles[place].button.focus();
  }

  undo() {
    const entry = this.takeBack();
    const tile = this.tiles.find((one) => one.card.item.id === entry?.item.id);
    if (!tile) return this.fill();
    tile.kind = null;
    tile.card = this.deck.cards.find((card) => card.item.id === entry.item.id) ?? tile.card;
    this.place = this.tiles.indexOf(tile);
    this.draw();
    tile.button.focus();
  }

  askRest() {
    const open = this.tiles.filter((tile) => !tile.kind).length;
    if (!open) return;
    this.root.querySelector("#wall-count").textContent = `Dislike the ${open} ${open === 1 ? "image that is" : "images that are"} not judged yet?`;
    this.dialog.returnValue = "";
    this.dialog.showModal();
  }

  rest() {
    for (const tile of this.tiles) if (!tile.kind) this.set(tile, "dislike");
  }

  // Hang other images. Those that were not judged come again later.
  next() {
    const open = this.tiles.filter((tile) => !tile.kind).map((tile) => tile.card);
    this.deck.cards = [...this.deck.cards.filter((card) => !open.includes(card)), ...(this.deck.ended ? open : [])];
    this.tiles = [];
    this.place = 0;
    this.grid.replaceChildren();
    this.deck.prefetch();
    this.deck.fill();
    this.fill();
    this.tiles[0]?.button.focus();
  }
}

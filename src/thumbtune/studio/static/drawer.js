// The drawer of Images: one image large, how it was made, and its votes.

import { get } from "./api.js";
import { load } from "./deck.js";

const VERBS = { like: "♥ liked", dislike: "✕ disliked", skip: "→ skipped" };
const time = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

export class Drawer {
  constructor(root, closed) {
    Object.assign(this, { root, closed, item: null });
    root.querySelector("#drawer-close").addEventListener("click", () => this.close());
  }

  get isOpen() { return !this.root.hidden; }

  open(item) {
    if (!item) return;
    this.item = item;
    this.root.hidden = false;
    document.body.classList.add("drawn");
    this.root.querySelector("#drawer-image").replaceChildren(load(item).element);
    this.root.querySelector("#drawer-prompt").textContent = item.prompt;
    this.refresh();
  }

  close() {
    if (!this.isOpen) return;
    this.root.hidden = true;
    this.item = null;
    document.body.classList.remove("drawn");
    this.closed();
  }

  async refresh() {
    const { item } = this;
    if (!item) return;
    let all;
    try {
      all = await get(`images/${item.id}`);
    } catch {
      return;
    }
    if (this.item !== item) return;
    const facts = {
      Image: `${all.id}, ${all.width} × ${all.height}, ${all.format}`,
      Seed: all.seed,
      Model: all.model,
      Source: all.source,
      Added: time.format(new Date(all.added_at)),
    };
    const list = this.root.querySelector("#drawer-facts");
    list.replaceChildren(...Object.entries(facts).filter(([, value]) => value).flatMap(([name, value]) => [
      Object.assign(document.createElement("dt"), { textContent: name }),
      Object.assign(document.createElement("dd"), { textContent: value }),
    ]));
    const votes = this.root.querySelector("#drawer-votes");
    votes.replaceChildren(...all.votes.map((vote) => {
      const line = document.createElement("li");
      const reason = vote.reason ? `: ${vote.reason}` : "";
      line.textContent = `${vote.rater} ${VERBS[vote.kind]}${reason}, ${time.format(new Date(vote.created_at))}`;
      line.className = vote.counts ? vote.kind : "past";
      if (!vote.counts) line.append(Object.assign(document.createElement("span"), { textContent: " (does not count)" }));
      return line;
    }));
    this.root.querySelector("#drawer-novotes").hidden = all.votes.length > 0;
  }
}

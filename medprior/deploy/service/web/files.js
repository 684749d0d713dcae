// The list of files: read one after the other, shown one at a time.

import { element, part } from "./report.js";

/** @typedef {{file: File, state: string, button: HTMLButtonElement}} Entry */

export class FileList {
  /** @param {(file: File, entry: Entry) => Promise<string>} open reads and shows a file; resolves to its summary */
  constructor(open) {
    this.open = open;
    /** @type {Entry[]} */
    this.entries = [];
    this.current = -1;
    this.turn = 0;
  }

  /**
   * Add files and read all of them; the first of them is shown at the end, the others on a click.
   * @param {File[]} files
   */
  async add(files) {
    const first = this.entries.length;
    for (const file of files) this.#append(file);
    this.turn += 1;
    const { turn } = this;
    part("files").hidden = this.entries.length < 2;
    for (let at = this.entries.length - 1; at >= first; at -= 1) {
      if (turn !== this.turn) return; // the user chose another file meanwhile
      await this.#read(at);
    }
  }

  /** @param {number} step 1 for the next file, -1 for the one before */
  async move(step) {
    if (this.entries.length < 2) return;
    await this.choose((this.current + step + this.entries.length) % this.entries.length);
  }

  /** @param {number} at */
  async choose(at) {
    this.turn += 1;
    await this.#read(at);
  }

  /** @param {number} at */
  async #read(at) {
    const entry = this.entries[at];
    this.current = at;
    for (const [index, { button }] of this.entries.entries()) {
      button.setAttribute("aria-current", String(index === at));
    }
    this.#write(entry, "reading …");
    this.#write(entry, await this.open(entry.file, entry));
  }

  /** @param {File} file */
  #append(file) {
    const button = document.createElement("button");
    button.type = "button";
    const entry = { file, state: "", button };
    const at = this.entries.push(entry) - 1;
    button.addEventListener("click", () => void this.choose(at));
    this.#write(entry, "waiting");
    const item = document.createElement("li");
    item.append(button);
    part("file-list").append(item);
  }

  /**
   * @param {Entry} entry
   * @param {string} state
   */
  #write(entry, state) {
    entry.state = state;
    entry.button.replaceChildren(element("span", entry.file.name), element("small", state));
  }
}

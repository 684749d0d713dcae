// Undo and redo over whole drawings: { structure: [contour, ...] }, a contour being [[x, y], ...].

export class History {
  constructor(first) {
    this.states = [first];
    this.at = 0;
  }

  get current() {
    return this.states[this.at];
  }

  push(state) {
    if (JSON.stringify(state) === JSON.stringify(this.current)) return false;
    this.states = [...this.states.slice(0, this.at + 1), state].slice(-200);
    this.at = this.states.length - 1;
    return true;
  }

  get canUndo() {
    return this.at > 0;
  }

  get canRedo() {
    return this.at < this.states.length - 1;
  }

  undo() {
    if (this.canUndo) this.at -= 1;
    return this.current;
  }

  redo() {
    if (this.canRedo) this.at += 1;
    return this.current;
  }
}

// Undo and redo of complete drawings: { structure: [contour, ...] }, a contour being [[x, y], ...].

export class History {
  constructor(initial) {
    this.states = [initial];
    this.index = 0;
  }

  get current() {
    return this.states[this.index];
  }

  push(state) {
    if (JSON.stringify(state) === JSON.stringify(this.current)) return false;
    this.states = [...this.states.slice(0, this.index + 1), state].slice(-200);
    this.index = this.states.length - 1;
    return true;
  }

  get canUndo() {
    return this.index > 0;
  }

  get canRedo() {
    return this.index < this.states.length - 1;
  }

  undo() {
    if (this.canUndo) this.index -= 1;
    return this.current;
  }

  redo() {
    if (this.canRedo) this.index += 1;
    return this.current;
  }
}

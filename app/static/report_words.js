function hints(count, total) {
  const notes = [];
  if (!map.nested && budget() !== map.kept.length) notes.push("What this method keeps at another budget was not asked.");
  else if (!asAnswered() || toggled.size) notes.push(`The answer used ${map.kept.length} tokens.`);
  if (cropped()) notes.push("Hatched parts were cut off before the model saw the picture.");
  find(".hint").textContent = notes.join(" ");
  canvas.setAttribute("aria-label", `The picture with its ${count} kept patches of ${total}. Arrow keys move.`);
}

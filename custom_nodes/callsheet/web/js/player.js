// A small player for a sound: it fits into a row, and looks like the editor.

import { button, element } from "./dom.js";
import { say } from "./words.js";

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

// `missing` is called when there is no such sound.
export function player(source, missing) {
  const sound = element("audio", { src: source, preload: "metadata", onerror: missing });
  const play = button("", say("play"), () => (sound.paused ? sound.play().catch(missing) : sound.pause()), { className: "play" });
  const place = element("input", { type: "range", min: 0, max: 1, step: "any", value: 0, ariaLabel: say("position") });
  const time = element("span", { className: "time", textContent: "–:––" });

  function show() {
    const { currentTime, duration } = sound;
    if (!Number.isFinite(duration)) return;
    place.value = duration ? currentTime / duration : 0;
    place.style.setProperty("--played", `${place.value * 100}%`);
    time.textContent = currentTime ? `${clock(currentTime)} / ${clock(duration)}` : clock(Math.ceil(duration));
    play.title = play.ariaLabel = sound.paused ? say("play") : say("pause");
    play.classList.toggle("playing", !sound.paused);
  }

  for (const event of ["loadedmetadata", "timeupdate", "seeked", "play", "pause", "ended"]) sound.addEventListener(event, show);
  place.oninput = () => (sound.currentTime = place.value * (sound.duration || 0));
  for (const event of ["pointerdown", "keydown"]) place.addEventListener(event, (e) => e.stopPropagation()); // else the node moves
  return element("div", { className: "player" }, play, place, time, sound);
}

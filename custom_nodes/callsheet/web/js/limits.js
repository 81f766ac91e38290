// Which numbers an Integer or Number parameter may hold. Pure; ops/limits.py says the same on the server.

// 0 means "not given" where it could not be meant as a value: then it must be possible to enter it.
export function numberLimits({ min, max, step, choices = [], optional, value }) {
  if (choices.length) return choiceLimits({ choices, optional, value });
  [min, max, step] = [min, max, step].map(Number);
  const zeroIsNotGiven = optional && (0 < min || 0 > max);
  const arrowStep = step > 0 ? step : handyStep(max - min);
  return {
    min,
    max,
    step,
    zeroIsNotGiven,
    lowest: zeroIsNotGiven ? Math.min(0, min) : min,
    highest: zeroIsNotGiven ? Math.max(0, max) : max,
    arrowStep,
    decimals: Math.min(8, Math.max(...[arrowStep, min, value].map(decimals))),
  };
}

// `settled` is where the value was: an arrow leads from the last allowed value to 0, and from 0 back.
export function nearestAllowed(value, limits, settled) {
  const { min, max, step, zeroIsNotGiven } = limits;
  if (zeroIsNotGiven && value === 0) return 0;
  if (limits.choices) return nearestChoice(value, limits, settled);
  if (value < min) return zeroIsNotGiven && settled === min && min > 0 ? 0 : min;
  if (value > max && zeroIsNotGiven && settled === max && max < 0) return 0;
  const clamped = Math.min(max, value);
  if (!(step > 0)) return tidy(clamped);
  const last = Math.floor((max - min) / step + 1e-6); // max itself need not be on a step
  return tidy(min + Math.min(last, Math.round((clamped - min) / step)) * step);
}

// "24, 25, 30", or one per line, in order; what is no whole number is for the server to refuse.
export function wholeChoices(text) {
  const parts = String(text ?? "").split(/[\s,]+/);
  const numbers = parts.filter((part) => /^-?[0-9]{1,15}$/.test(part)).map(Number);
  return [...new Set(numbers)].sort((a, b) => a - b);
}

// An arrow spans the wider of the gaps beside the value: no typed number that is nearer to the value than to
// its neighbours is taken for an arrow. Beyond both ends there is room for one, or the editor would cut it short.
function choiceLimits({ choices, optional, value }) {
  const zeroIsNotGiven = optional && !choices.includes(0);
  const places = zeroIsNotGiven ? [...choices, 0].sort((a, b) => a - b) : choices;
  const arrowStep = Math.max(1, ...neighbours(places, value).map((place) => Math.abs(place - value)));
  const [lowest, highest] = [places[0] - arrowStep, places.at(-1) + arrowStep];
  return { choices, places, zeroIsNotGiven, lowest, highest, arrowStep, decimals: 0 };
}

function nearestChoice(value, { choices, places }, settled) {
  const [below, above] = neighbours(places, settled);
  const arrowStep = Math.max(1, settled - below, above - settled);
  if (value === settled - arrowStep) return below;
  if (value === settled + arrowStep) return above;
  return choices.reduce((best, next) => (Math.abs(next - value) < Math.abs(best - value) ? next : best));
}

// The places before and after a value; itself at an end.
function neighbours(places, value) {
  const below = places.filter((place) => place < value).at(-1) ?? value;
  const above = places.find((place) => place > value) ?? value;
  return [below, above];
}

// For "any number": about a hundredth of the range, as a power of ten.
const handyStep = (range) => (range > 0 ? 10 ** Math.floor(Math.log10(range / 100) + 1e-9) : 1);

// 0.1 + 0.2, as people write it.
const tidy = (value) => (Number.isInteger(value) ? value : Number(value.toPrecision(12)));

function decimals(value) {
  const text = String(tidy(Number(value)));
  const [digits, exponent] = text.split("e-");
  return (digits.split(".")[1]?.length ?? 0) + Number(exponent ?? 0);
}

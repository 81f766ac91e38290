// Which numbers an Integer or Number parameter may hold. Pure; ops/limits.py says the same on the server.

// 0 means "not given" where it could not be meant as a value: then it must be possible to enter it.
export function numberLimits({ min, max, step, optional, value }) {
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
export function nearestAllowed(value, { min, max, step, zeroIsNotGiven }, settled) {
  if (zeroIsNotGiven && value === 0) return 0;
  if (value < min) return zeroIsNotGiven && settled === min && min > 0 ? 0 : min;
  if (value > max && zeroIsNotGiven && settled === max && max < 0) return 0;
  const clamped = Math.min(max, value);
  if (!(step > 0)) return tidy(clamped);
  const last = Math.floor((max - min) / step + 1e-6); // max itself need not be on a step
  return tidy(min + Math.min(last, Math.round((clamped - min) / step)) * step);
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

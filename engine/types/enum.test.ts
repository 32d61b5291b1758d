import { expect, test } from 'vitest';
import { registerEnum } from './enum.js';
import { typeOf } from './registry.js';

test('an enum orders by declaration and refuses other labels', () => {
  const mood = registerEnum(90_000, 90_001, 'mood', ['sad', 'ok', 'happy']);
  expect(mood.compare(mood.fromText('sad'), mood.fromText('ok'))).toBeLessThan(0);
  expect(() => mood.fromText('x')).toThrow('invalid input value for enum mood: "x"');
  expect(typeOf(90_001).toText(typeOf(90_001).fromText('{happy,sad}'))).toBe('{happy,sad}');
});

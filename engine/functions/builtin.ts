/** Registers everything that is built in; importing it is enough. Modules that resolve calls import this first. */
import { registerAllAggregates } from './aggregates.js';
import { registerArithmetic } from './arithmetic.js';
import { registerArrays } from './arrays.js';
import { registerComparisons } from './comparison.js';
import { registerDateTime } from './date-time.js';
import { registerJson } from './json.js';
import { registerMath } from './math.js';
import { registerPatterns } from './patterns.js';
import { registerSession } from './session.js';
import { registerStrings } from './strings.js';
import { registerToChar } from './to-char.js';

registerComparisons();
registerArithmetic();
registerStrings();
registerPatterns();
registerMath();
registerDateTime();
registerToChar();
registerArrays();
registerJson();
registerSession();
registerAllAggregates();

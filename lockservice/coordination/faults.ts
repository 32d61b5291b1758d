/** Rules of the coordination tree that a test may switch off, to see that something notices. */
export interface CoordinationFaults {
  /** TREE-1: a repeated write is applied again. */
  readonly appliesTwice: boolean;
  /** TREE-1: a write is applied although one before it is missing. */
  readonly acceptsGaps: boolean;
  /** TREE-2: what came before a failing operation stays. */
  readonly halfMulti: boolean;
  /** TREE-3: ephemeral nodes outlive their clerk. */
  readonly keepsEphemerals: boolean;
}

export const NO_COORDINATION_FAULTS: CoordinationFaults = {
  appliesTwice: false,
  acceptsGaps: false,
  halfMulti: false,
  keepsEphemerals: false,
};

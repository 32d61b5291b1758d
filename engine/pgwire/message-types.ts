/** Letters of protocol version 3, as PostgreSQL documents them under "Message Formats". */
const letter = (text: string): number => text.charCodeAt(0);

export const FrontendMessage = {
  bind: letter('B'),
  close: letter('C'),
  copyData: letter('d'),
  copyDone: letter('c'),
  copyFail: letter('f'),
  describe: letter('D'),
  execute: letter('E'),
  flush: letter('H'),
  functionCall: letter('F'),
  parse: letter('P'),
  password: letter('p'),
  query: letter('Q'),
  sync: letter('S'),
  terminate: letter('X'),
} as const;

export const BackendMessage = {
  authentication: letter('R'),
  backendKeyData: letter('K'),
  bindComplete: letter('2'),
  closeComplete: letter('3'),
  commandComplete: letter('C'),
  copyData: letter('d'),
  copyDone: letter('c'),
  copyInResponse: letter('G'),
  copyOutResponse: letter('H'),
  dataRow: letter('D'),
  emptyQueryResponse: letter('I'),
  errorResponse: letter('E'),
  negotiateProtocolVersion: letter('v'),
  noData: letter('n'),
  noticeResponse: letter('N'),
  notificationResponse: letter('A'),
  parameterDescription: letter('t'),
  parameterStatus: letter('S'),
  parseComplete: letter('1'),
  portalSuspended: letter('s'),
  readyForQuery: letter('Z'),
  rowDescription: letter('T'),
} as const;

/** First i32 of a packet that has no type byte. */
export const StartupCode = {
  cancelRequest: 80877102,
  sslRequest: 80877103,
  gssEncRequest: 80877104,
} as const;

export const PROTOCOL_MAJOR = 3;
/** The newest minor version; newer ones are answered by NegotiateProtocolVersion. */
export const PROTOCOL_MINOR = 2;

const known = new Uint8Array(256);
for (const type of Object.values(FrontendMessage)) known[type] = 1;

export const isFrontendMessage = (type: number): boolean => known[type] === 1;

// `@std/testing/bdd` where JSR cannot be reached: the names of it that we use, from node:test.
export {
  after as afterAll,
  afterEach,
  before as beforeAll,
  beforeEach,
  describe,
  it,
} from "node:test";

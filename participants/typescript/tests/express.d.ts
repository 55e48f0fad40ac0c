// SPDX-License-Identifier: Apache-2.0
// As much of Express as the tests use: its own types bring a dozen packages.
declare module "express" {
  function express(): any;
  namespace express {
    const json: (options: object) => unknown;
    const raw: (options: object) => unknown;
  }
  export default express;
}

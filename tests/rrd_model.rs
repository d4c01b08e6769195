//! The engine against a naive model that keeps every second: the same data points and rows, whatever the updates.

mod support {
    pub(crate) mod model;
}

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_has_the_rows_of_a_naive_model(bytes in proptest::collection::vec(any::<u8>(), 0..1000)) {
        support::model::check(&bytes);
    }
}

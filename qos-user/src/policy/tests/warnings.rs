//! Warnings: what is no error, but hardly meant.

use super::{EDGE, policy, read};
use crate::policy::Severity;

macro_rules! warnings {
    ($($name:ident: $sections:expr;)*) => {$(
        #[test]
        fn $name() {
            let policy = policy($sections);
            assert!(policy.warnings().diagnostics().iter().all(|found| found.severity() == Severity::Warning));
            insta::assert_snapshot!(policy.warnings().render(false));
        }
    )*};
}

warnings! {
    table_unused: "[remark.a]\nother = \"keep\"";
    class_unused: "[classes]\nvoice = [\"EF\"]";
    entry_as_other: "[interface.x]\ningress = \"a\"\n[remark.a]\nEF = \"keep\"\nother = \"keep\"";
    entry_as_its_class: "[classes]\nv = [\"EF\", \"VA\"]\n[interface.x]\ningress = \"a\"\n[remark.a]\nEF = 0\nv = \"DF\"\nother = \"keep\"";
    class_never_asked: "[classes]\nv = [\"EF\"]\n[interface.x]\ningress = \"a\"\n[remark.a]\nEF = 0\nv = 1\nother = \"keep\"";
    local_without_egress: "[interface.x]\ningress = \"a\"\nlocal = \"keep\"\n[remark.a]\nother = 0";
    nothing_bound: "[interface.x]";
    glob_never_wins: "[interface.a12345678901234]\negress = \"a\"\n[interface.\"a12345678901234*\"]\negress = \"a\"\n[remark.a]\nother = 0";
    not_taken_from_the_glob: "[interface.ppp0]\ningress = \"a\"\n[interface.\"ppp*\"]\negress = \"a\"\n[interface.\"*\"]\ningress = \"a\"\negress = \"a\"\n[remark.a]\nother = 0";
}

#[test]
fn the_example_has_none() {
    let policy = read(EDGE).unwrap();
    assert!(policy.warnings().is_empty(), "{}", policy.warnings().render(false));
}

#[test]
fn loopback_misses_nothing_of_a_glob() {
    let policy = policy("[interface.lo]\ningress = \"a\"\n[interface.\"*\"]\negress = \"a\"\n[remark.a]\nother = 0");
    assert!(policy.warnings().is_empty(), "{}", policy.warnings().render(false));
}

#[test]
fn an_entry_that_makes_an_exception_is_no_idle_one() {
    let policy = policy("[interface.x]\ningress = \"a\"\n[remark.a]\nEF = \"keep\"\nCS1 = 8\nother = 0");
    assert!(policy.warnings().is_empty(), "{}", policy.warnings().render(false));
}

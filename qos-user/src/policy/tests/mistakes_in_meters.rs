//! One snapshot for each kind of mistake in meters.

use super::macros::rules;

rules! {
    meter_of_another_kind: "meter = \"8mbit\"";
    meter_without_type: "meter = { cir = \"8mbit\" }";
    meter_of_unknown_type: "meter = { type = \"tbf\" }";
    meter_of_nearly_known_type: "meter = { type = \"trtmc\" }";
    meter_all_at_once: "meter = { typ = \"trtcm\", cir = \"8mbps\", cbs = 64, overhed = 4 }\nred = \"dorp\"\nlog = \"often\"";
    meter_of_no_type_with_bad_numbers: "meter = { type = \"tbf\", cir = \"fast\", cbs = \"64kB\" }";
    meter_by_its_rfc: "meter = { type = \"rfc2698\" }";
    meter_lacks_parameters: "meter = { type = \"trtcm\", cir = \"8mbit\" }";
    meter_has_another_ones: "meter = { type = \"srtcm\", cir = \"8mbit\", cbs = \"64kB\", ebs = \"64kB\", pir = \"9mbit\" }";
    meter_unknown_key: "meter = { type = \"srtcm\", cir = \"8mbit\", cbs = \"64kB\", ebs = \"64kB\", overhed = 4 }";
    meter_with_colors_inside: "meter = { type = \"srtcm\", cir = \"8mbit\", cbs = \"64kB\", ebs = \"64kB\", green = \"AF41\", red = \"drop\", color = { red = [\"AF43\"] } }";
    meter_in_words_of_cisco: "meter = { kind = \"srtcm\", rate = \"8mbit\", bc = \"64kB\", be = \"64kB\", exceed_action = \"drop\" }";
    meter_numbers_without_units: "meter = { type = \"srtcm\", cir = 8000000, cbs = 64000, ebs = \"64000\" }";
    meter_bad_units: "meter = { type = \"trtcm\", cir = \"8mbps\", cbs = \"64kb\", pir = \"9Gbit\", pbs = \"64 furlongs\" }";
    meter_units_of_tc: "meter = { type = \"trtcm\", cir = \"8M\", cbs = \"64K\", pir = \"12m\", pbs = \"64k\" }";
    meter_no_numbers: "meter = { type = \"srtcm\", cir = \"fast\", cbs = \"1.2.3kB\", ebs = true }";
    meter_out_of_range: "meter = { type = \"srtcm\", cir = \"7kbit\", cbs = \"5000MB\", ebs = \"64kB\" }";
    meter_peak_below_committed: "meter = { type = \"trtcm\", cir = \"8mbit\", cbs = \"64kB\", pir = \"4mbit\", pbs = \"64kB\" }";
    meter_without_bursts: "meter = { type = \"srtcm\", cir = \"8mbit\", cbs = \"0B\", ebs = \"0B\" }";
    meter_with_an_empty_burst: "meter = { type = \"rfc4115\", cir = \"8mbit\", cbs = \"64kB\", eir = \"8mbit\", ebs = \"0B\" }";
    meter_overhead_too_large: "meter = { type = \"srtcm\", cir = \"8mbit\", cbs = \"64kB\", ebs = \"64kB\", overhead = 257 }";
    meter_overhead_with_a_unit: "meter = { type = \"srtcm\", cir = \"8mbit\", cbs = \"64kB\", ebs = \"64kB\", overhead = \"4B\" }";
    color_without_meter: "set = \"EF\"\ngreen = \"EF\"\ncolor = { red = \"AF43\" }";
    color_unknown: "meter = { type = \"srtcm\", cir = \"8mbit\", cbs = \"64kB\", ebs = \"64kB\" }\ncolor = { yelow = \"AF42\" }";
    color_green: "meter = { type = \"srtcm\", cir = \"8mbit\", cbs = \"64kB\", ebs = \"64kB\" }\ncolor = { green = \"AF41\", red = \"AF43\" }";
    color_of_none: "meter = { type = \"srtcm\", cir = \"8mbit\", cbs = \"64kB\", ebs = \"64kB\" }\ncolor = { }";
    color_both: "meter = { type = \"srtcm\", cir = \"8mbit\", cbs = \"64kB\", ebs = \"64kB\" }\ncolor = { yellow = \"AF42-AF43\", red = \"AF43\" }";
    color_of_another_kind: "meter = { type = \"srtcm\", cir = \"8mbit\", cbs = \"64kB\", ebs = \"64kB\" }\ncolor = \"blind\"";
    verdict_unknown: "meter = { type = \"srtcm\", cir = \"8mbit\", cbs = \"64kB\", ebs = \"64kB\" }\ngreen = \"kep\"\nyellow = \"dropp\"\nred = 99";
    verdict_of_another_kind: "meter = { type = \"srtcm\", cir = \"8mbit\", cbs = \"64kB\", ebs = \"64kB\" }\nred = [\"drop\"]";
}

//! What a parser accepts.

/// Switches of the language and bounds on a query. The default accepts what Prometheus accepts without feature flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParserOptions {
    /// `promql-experimental-functions`
    pub experimental_functions: bool,
    /// `promql-duration-expr`: arithmetic and `step()` in durations
    pub duration_expressions: bool,
    /// `promql-extended-range-selectors`: `anchored` and `smoothed`
    pub extended_range_selectors: bool,
    /// `promql-binop-fill-modifiers`: `fill`, `fill_left`, `fill_right`
    pub fill_modifiers: bool,
    /// The longest query, in bytes.
    pub text_bytes_max: usize,
    /// The tallest tree. Everything that walks a tree recurses, and stacks are finite. A chain of operators
    /// (`a + b + c`) is as tall as it is long.
    pub depth_max: usize,
    /// The most expressions in one query.
    pub nodes_max: usize,
}

impl ParserOptions {
    /// Every experimental part of the language on.
    pub fn experimental() -> Self {
        Self {
            experimental_functions: true,
            duration_expressions: true,
            extended_range_selectors: true,
            fill_modifiers: true,
            ..Self::default()
        }
    }
}

impl Default for ParserOptions {
    fn default() -> Self {
        Self {
            experimental_functions: false,
            duration_expressions: false,
            extended_range_selectors: false,
            fill_modifiers: false,
            text_bytes_max: 1 << 20,
            depth_max: 250,
            nodes_max: 20_000,
        }
    }
}

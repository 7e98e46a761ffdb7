//! The functions of the language: their names, argument types and result types.

use std::fmt;

use crate::value_type::ValueType::{self, Matrix, Scalar, String, Vector};

use Maturity::{Experimental, Stable};

/// What a function takes and gives.
#[derive(Debug, PartialEq, Eq)]
pub struct Signature {
    pub function: Function,
    pub name: &'static str,
    /// Types of the arguments in order. The last one is the optional or repeated one when `variadic` is not zero.
    pub argument_types: &'static [ValueType],
    /// Zero: exactly as many arguments as types. Positive: the last type may stand 0 to this many times.
    /// Negative: any number of times, none included.
    pub variadic: i32,
    pub return_type: ValueType,
    pub maturity: Maturity,
}

/// Whether a function needs the experimental switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maturity {
    Stable,
    Experimental,
}

/// Makes the enum of functions and the table beside it from one list, so that neither can miss an entry.
macro_rules! functions {
    ($($variant:ident: $name:literal [$($argument:ident),*] $variadic:literal $return_type:ident $maturity:ident,)*) => {
        /// A function of the language.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Function {
            $($variant,)*
        }

        /// One entry a function, in the order of [`Function`], which is the order of their names.
        static SIGNATURES: &[Signature] = &[
            $(Signature {
                function: Function::$variant,
                name: $name,
                argument_types: &[$($argument),*],
                variadic: $variadic,
                return_type: $return_type,
                maturity: $maturity,
            },)*
        ];
    };
}

// name, argument types, variadic, result, maturity: as of Prometheus 3.14.
#[rustfmt::skip]
functions! {
    Abs: "abs" [Vector] 0 Vector Stable,
    Absent: "absent" [Vector] 0 Vector Stable,
    AbsentOverTime: "absent_over_time" [Matrix] 0 Vector Stable,
    Acos: "acos" [Vector] 0 Vector Stable,
    Acosh: "acosh" [Vector] 0 Vector Stable,
    Asin: "asin" [Vector] 0 Vector Stable,
    Asinh: "asinh" [Vector] 0 Vector Stable,
    Atan: "atan" [Vector] 0 Vector Stable,
    Atanh: "atanh" [Vector] 0 Vector Stable,
    AvgOverTime: "avg_over_time" [Matrix] 0 Vector Stable,
    Ceil: "ceil" [Vector] 0 Vector Stable,
    Changes: "changes" [Matrix] 0 Vector Stable,
    Clamp: "clamp" [Vector, Scalar, Scalar] 0 Vector Stable,
    ClampMax: "clamp_max" [Vector, Scalar] 0 Vector Stable,
    ClampMin: "clamp_min" [Vector, Scalar] 0 Vector Stable,
    Cos: "cos" [Vector] 0 Vector Stable,
    Cosh: "cosh" [Vector] 0 Vector Stable,
    CountOverTime: "count_over_time" [Matrix] 0 Vector Stable,
    DayOfMonth: "day_of_month" [Vector] 1 Vector Stable,
    DayOfWeek: "day_of_week" [Vector] 1 Vector Stable,
    DayOfYear: "day_of_year" [Vector] 1 Vector Stable,
    DaysInMonth: "days_in_month" [Vector] 1 Vector Stable,
    Deg: "deg" [Vector] 0 Vector Stable,
    Delta: "delta" [Matrix] 0 Vector Stable,
    Deriv: "deriv" [Matrix] 0 Vector Stable,
    DoubleExponentialSmoothing: "double_exponential_smoothing" [Matrix, Scalar, Scalar] 0 Vector Experimental,
    End: "end" [] 0 Scalar Experimental,
    Exp: "exp" [Vector] 0 Vector Stable,
    FirstOverTime: "first_over_time" [Matrix] 0 Vector Stable,
    Floor: "floor" [Vector] 0 Vector Stable,
    HistogramAvg: "histogram_avg" [Vector] 0 Vector Stable,
    HistogramCount: "histogram_count" [Vector] 0 Vector Stable,
    HistogramFraction: "histogram_fraction" [Scalar, Scalar, Vector] 0 Vector Stable,
    HistogramQuantile: "histogram_quantile" [Scalar, Vector] 0 Vector Stable,
    HistogramQuantiles: "histogram_quantiles" [Vector, String, Scalar, Scalar] 9 Vector Experimental,
    HistogramStddev: "histogram_stddev" [Vector] 0 Vector Stable,
    HistogramStdvar: "histogram_stdvar" [Vector] 0 Vector Stable,
    HistogramSum: "histogram_sum" [Vector] 0 Vector Stable,
    Hour: "hour" [Vector] 1 Vector Stable,
    Idelta: "idelta" [Matrix] 0 Vector Stable,
    Increase: "increase" [Matrix] 0 Vector Stable,
    Info: "info" [Vector, Vector] 1 Vector Experimental,
    Irate: "irate" [Matrix] 0 Vector Stable,
    LabelJoin: "label_join" [Vector, String, String, String] -1 Vector Stable,
    LabelReplace: "label_replace" [Vector, String, String, String, String] 0 Vector Stable,
    LastOverTime: "last_over_time" [Matrix] 0 Vector Stable,
    Ln: "ln" [Vector] 0 Vector Stable,
    Log10: "log10" [Vector] 0 Vector Stable,
    Log2: "log2" [Vector] 0 Vector Stable,
    MadOverTime: "mad_over_time" [Matrix] 0 Vector Experimental,
    MaxOf: "max_of" [Scalar, Scalar] 0 Scalar Experimental,
    MaxOverTime: "max_over_time" [Matrix] 0 Vector Stable,
    MinOf: "min_of" [Scalar, Scalar] 0 Scalar Experimental,
    MinOverTime: "min_over_time" [Matrix] 0 Vector Stable,
    Minute: "minute" [Vector] 1 Vector Stable,
    Month: "month" [Vector] 1 Vector Stable,
    Pi: "pi" [] 0 Scalar Stable,
    PredictLinear: "predict_linear" [Matrix, Scalar] 0 Vector Stable,
    PresentOverTime: "present_over_time" [Matrix] 0 Vector Stable,
    QuantileOverTime: "quantile_over_time" [Scalar, Matrix] 0 Vector Stable,
    Rad: "rad" [Vector] 0 Vector Stable,
    Range: "range" [] 0 Scalar Experimental,
    Rate: "rate" [Matrix] 0 Vector Stable,
    Resets: "resets" [Matrix] 0 Vector Stable,
    Round: "round" [Vector, Scalar] 1 Vector Stable,
    Scalar: "scalar" [Vector] 0 Scalar Stable,
    Sgn: "sgn" [Vector] 0 Vector Stable,
    Sin: "sin" [Vector] 0 Vector Stable,
    Sinh: "sinh" [Vector] 0 Vector Stable,
    Sort: "sort" [Vector] 0 Vector Stable,
    SortByLabel: "sort_by_label" [Vector, String] -1 Vector Experimental,
    SortByLabelDesc: "sort_by_label_desc" [Vector, String] -1 Vector Experimental,
    SortDesc: "sort_desc" [Vector] 0 Vector Stable,
    Sqrt: "sqrt" [Vector] 0 Vector Stable,
    Start: "start" [] 0 Scalar Experimental,
    StartTimestamp: "start_timestamp" [Vector] 0 Vector Experimental,
    StddevOverTime: "stddev_over_time" [Matrix] 0 Vector Stable,
    StdvarOverTime: "stdvar_over_time" [Matrix] 0 Vector Stable,
    Step: "step" [] 0 Scalar Experimental,
    SumOverTime: "sum_over_time" [Matrix] 0 Vector Stable,
    Tan: "tan" [Vector] 0 Vector Stable,
    Tanh: "tanh" [Vector] 0 Vector Stable,
    Time: "time" [] 0 Scalar Stable,
    Timestamp: "timestamp" [Vector] 0 Vector Stable,
    TsOfFirstOverTime: "ts_of_first_over_time" [Matrix] 0 Vector Experimental,
    TsOfLastOverTime: "ts_of_last_over_time" [Matrix] 0 Vector Experimental,
    TsOfMaxOverTime: "ts_of_max_over_time" [Matrix] 0 Vector Experimental,
    TsOfMinOverTime: "ts_of_min_over_time" [Matrix] 0 Vector Experimental,
    Vector: "vector" [Scalar] 0 Vector Stable,
    Year: "year" [Vector] 1 Vector Stable,
}

impl Function {
    /// The function of this name; names are case-sensitive.
    pub fn by_name(name: &str) -> Option<Self> {
        let at = SIGNATURES.binary_search_by(|signature| signature.name.cmp(name)).ok()?;
        Some(SIGNATURES[at].function)
    }

    /// All functions, sorted by name.
    pub fn all() -> impl Iterator<Item = Self> {
        SIGNATURES.iter().map(|signature| signature.function)
    }

    pub fn signature(self) -> &'static Signature {
        &SIGNATURES[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.signature().name
    }
}

impl fmt::Display for Function {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl Signature {
    /// The fewest arguments a call may have.
    pub fn arguments_min(&self) -> usize {
        if self.variadic == 0 { self.argument_types.len() } else { self.argument_types.len() - 1 }
    }

    /// The most arguments a call may have; `None` when there is no limit.
    pub fn arguments_max(&self) -> Option<usize> {
        match self.variadic {
            0 => Some(self.argument_types.len()),
            more => Some(self.arguments_min() + usize::try_from(more).ok()?),
        }
    }

    /// The type that argument `index` must have.
    pub fn argument_type(&self, index: usize) -> Option<ValueType> {
        match self.argument_types.get(index) {
            Some(&argument_type) => Some(argument_type),
            None if self.variadic != 0 => self.argument_types.last().copied(),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_name_is_found() {
        assert!(SIGNATURES.windows(2).all(|pair| pair[0].name < pair[1].name));
        for function in Function::all() {
            assert_eq!(Function::by_name(function.name()), Some(function));
            assert_eq!(function.signature().function, function);
        }
        assert_eq!((Function::all().count(), Function::by_name("Rate")), (90, None));
    }

    #[test]
    fn variadic_signatures_bound_their_arguments() {
        let bounds = |function: Function| {
            let signature = function.signature();
            (signature.arguments_min(), signature.arguments_max())
        };
        assert_eq!(bounds(Function::Rate), (1, Some(1)));
        assert_eq!(bounds(Function::Round), (1, Some(2)));
        assert_eq!(bounds(Function::LabelJoin), (3, None));
        assert_eq!(bounds(Function::HistogramQuantiles), (3, Some(12)));
        assert_eq!(Function::LabelJoin.signature().argument_type(9), Some(String));
        assert_eq!(Function::Rate.signature().argument_type(1), None);
    }
}

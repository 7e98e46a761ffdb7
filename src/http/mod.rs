mod failure; mod envelope; mod params; mod stream; mod body; mod listener; mod native_labels;

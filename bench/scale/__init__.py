"""The tail on serving engines that exist: how they are started here."""

"""Tables as spreadsheets and programs save them, read by one door (`read`), and written for both (`write`)."""

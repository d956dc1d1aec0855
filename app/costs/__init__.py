"""What answers cost in money and in energy: alone, in company, beside prices of others, on machines of one's own."""

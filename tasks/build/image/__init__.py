"""image:NAME"""
